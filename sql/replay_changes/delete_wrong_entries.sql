-- replay_changes/delete_wrong_entries: take away entries that the transactions do not explain.
-- why: the first half of making the entries of some accounts anew (LR5), under the locks of all
--   balances. The application's role cannot do it.
-- params: tenant_id text, account_ids bigint[]
-- kind: write | returns: many | role: owner | scan: tenant | locks: the entries, under their balances
WITH sides AS (
    SELECT
        s.account_id, coalesce(s.stripe, 0)::smallint AS stripe, t.posted_at, t.id AS tx_id,
        l.leg::smallint AS leg, s.side::smallint AS side, t.effective_at,
        CASE WHEN t.kind IN ('hold', 'void', 'expire') THEN 0 ELSE l.amount END AS posted,
        CASE
            WHEN t.kind = 'hold' THEN l.amount
            WHEN t.kind = 'capture' THEN -t.released
            WHEN t.kind IN ('void', 'expire') THEN -l.amount
            ELSE 0
        END AS pending
    FROM ledger_transactions AS t
    CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts, t.amounts)
    WITH ORDINALITY AS l (debit, credit, amount, leg)
    CROSS JOIN LATERAL (
        VALUES (-1, l.debit, t.stripes[l.leg][1]), (1, l.credit, t.stripes[l.leg][2])
    ) AS s (side, account_id, stripe)
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
        AND s.account_id = any(:'account_ids'::bigint[])
),
told AS (
    SELECT
        n.account_id, n.stripe, n.posted_at, n.tx_id, n.leg, n.side, n.posted, n.pending,
        n.effective_at, row_number() OVER w AS version,
        (sum(a.normal_side * n.side * n.posted) OVER w)::bigint AS balance_after
    FROM sides AS n
    INNER JOIN ledger_accounts AS a
        ON a.tenant_id = :'tenant_id'::text AND n.account_id = a.account_id
    WINDOW w AS (
        PARTITION BY n.account_id, n.stripe ORDER BY n.posted_at, n.tx_id, n.leg, n.side
        ROWS UNBOUNDED PRECEDING
    )
),
gone AS (
    DELETE FROM ledger_entries AS e
    WHERE
        e.tenant_id = :'tenant_id'::text AND e.account_id = any(:'account_ids'::bigint[])
        AND NOT EXISTS (
            SELECT FROM told AS n
            WHERE
                (
                n.account_id, n.stripe, n.posted_at, n.version, n.tx_id, n.leg, n.side, n.posted,
                n.pending, n.effective_at, n.balance_after
                )
                = (
                e.account_id, e.stripe, e.posted_at, e.version, e.tx_id, e.leg, e.side, e.posted,
                e.pending, e.effective_at, e.balance_after
                )
        )
    RETURNING
        e.account_id, e.stripe, e.posted_at, e.version, e.tx_id, e.leg, e.side, e.posted,
        e.pending, e.effective_at, e.balance_after
)
SELECT
    g.account_id, a.code, a.currency::text AS currency, g.stripe::bigint AS stripe, g.tx_id,
    'entry ' || g.version AS field, NULL::text AS expected,
    concat_ws(
        ' ', 'leg', g.leg, 'side', g.side, 'posted', g.posted, 'pending', g.pending, 'at',
        g.posted_at, 'for', g.effective_at, 'balance', g.balance_after
    ) AS found
FROM gone AS g
LEFT JOIN ledger_accounts AS a ON a.tenant_id = :'tenant_id'::text AND g.account_id = a.account_id
ORDER BY g.account_id, g.stripe, g.version;
