-- ledger_restore/record_entries: write the entries of transactions, and move their balances.
-- why: they follow from the headers alone (LI1). The transactions are those of one batch, in the
--   order of posting; each balance carries on from where the batch before has left it.
-- params: tenant_id text, tx_ids uuid[]
-- kind: write | returns: one | locks: balances that nobody else can see before the commit
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
        t.tenant_id = :'tenant_id'::text AND t.id = any(:'tx_ids'::uuid[])
        AND t.status = 'applied'
),
told AS (
    SELECT
        n.account_id, n.stripe, n.posted_at, n.tx_id, n.leg, n.side, n.posted, n.pending,
        n.effective_at, b.version + row_number() OVER w AS version,
        b.normal_side * (b.credits_posted - b.debits_posted)
        + (sum(b.normal_side * n.side * n.posted) OVER w)::bigint AS balance_after
    FROM sides AS n
    INNER JOIN ledger_balances AS b
        ON
            b.tenant_id = :'tenant_id'::text AND n.account_id = b.account_id
            AND n.stripe = b.stripe
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
    RETURNING e.account_id, e.stripe, e.posted_at, e.side, e.posted, e.pending
),
moved AS (
    UPDATE ledger_balances AS b
    SET
        debits_posted = b.debits_posted + s.debits_posted,
        credits_posted = b.credits_posted + s.credits_posted,
        debits_pending = b.debits_pending + s.debits_pending,
        credits_pending = b.credits_pending + s.credits_pending,
        version = b.version + s.entries, last_posted_at = s.last_posted_at
    FROM (
        SELECT
            m.account_id, m.stripe, count(*) AS entries, max(m.posted_at) AS last_posted_at,
            coalesce(sum(m.posted) FILTER (WHERE m.side = -1), 0) AS debits_posted,
            coalesce(sum(m.posted) FILTER (WHERE m.side = 1), 0) AS credits_posted,
            coalesce(sum(m.pending) FILTER (WHERE m.side = -1), 0) AS debits_pending,
            coalesce(sum(m.pending) FILTER (WHERE m.side = 1), 0) AS credits_pending
        FROM made AS m
        GROUP BY m.account_id, m.stripe
    ) AS s
    WHERE
        b.tenant_id = :'tenant_id'::text AND b.account_id = s.account_id AND b.stripe = s.stripe
)
SELECT count(*) AS entries
FROM made;
