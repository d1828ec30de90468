-- replay_changes/create_entries: write the entries that transactions of some accounts lack.
-- why: the second half of making them anew (LR5), after the wrong ones are gone: one statement
--   could not take a key that it gives free itself.
-- params: tenant_id text, account_ids bigint[]
-- kind: write | returns: many | scan: tenant | locks: only new rows, under their balances
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
made AS (
    INSERT INTO ledger_entries AS e (
        tenant_id, account_id, stripe, posted_at, version, tx_id, leg, side, posted, pending,
        effective_at, balance_after
    )
    SELECT
        :'tenant_id'::text, n.account_id, n.stripe, n.posted_at, n.version, n.tx_id, n.leg, n.side,
        n.posted, n.pending, n.effective_at, n.balance_after
    FROM told AS n
    WHERE
        NOT EXISTS (
            SELECT FROM ledger_entries AS x
            WHERE
                x.tenant_id = :'tenant_id'::text AND x.account_id = n.account_id
                AND x.stripe = n.stripe AND x.posted_at = n.posted_at AND x.version = n.version
        )
    RETURNING
        e.account_id, e.stripe, e.posted_at, e.version, e.tx_id, e.leg, e.side, e.posted,
        e.pending, e.effective_at, e.balance_after
)
SELECT
    m.account_id, a.code, a.currency::text AS currency, m.stripe::bigint AS stripe, m.tx_id,
    'entry ' || m.version AS field,
    concat_ws(
        ' ', 'leg', m.leg, 'side', m.side, 'posted', m.posted, 'pending', m.pending, 'at',
        m.posted_at, 'for', m.effective_at, 'balance', m.balance_after
    ) AS expected, NULL::text AS found
FROM made AS m
LEFT JOIN ledger_accounts AS a ON a.tenant_id = :'tenant_id'::text AND m.account_id = a.account_id
ORDER BY m.account_id, m.stripe, m.version;
