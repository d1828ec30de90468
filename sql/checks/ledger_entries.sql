-- checks/ledger_entries: each header's legs are its entries, and there are no others (LI1).
-- why: the header is the truth. `missing` says how many of a leg's entries there should be more;
--   below 0: an entry that no header explains.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    d.tenant_id, d.tx_id, d.leg, d.side, d.account_id, d.stripe, d.posted, d.pending, d.posted_at,
    d.effective_at, sum(d.n) AS missing
FROM (
    SELECT
        t.tenant_id, t.id AS tx_id, l.leg, s.side, s.account_id, coalesce(s.stripe, 0) AS stripe,
        CASE WHEN t.kind IN ('hold', 'void', 'expire') THEN 0 ELSE l.amount END AS posted,
        CASE
            WHEN t.kind = 'hold' THEN l.amount
            WHEN t.kind = 'capture' THEN -t.released
            WHEN t.kind IN ('void', 'expire') THEN -l.amount
            ELSE 0
        END AS pending,
        t.posted_at, t.effective_at, 1 AS n
    FROM ledger_transactions AS t
    CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts, t.amounts)
    WITH ORDINALITY AS l (debit, credit, amount, leg)
    CROSS JOIN LATERAL (
        VALUES (-1, l.debit, t.stripes[l.leg][1]), (1, l.credit, t.stripes[l.leg][2])
    ) AS s (side, account_id, stripe)
    WHERE t.status = 'applied' AND t.kind <> 'change'
    UNION ALL
    SELECT
        e.tenant_id, e.tx_id, e.leg, e.side, e.account_id, e.stripe, e.posted, e.pending,
        e.posted_at, e.effective_at, -1 AS n
    FROM ledger_entries AS e
) AS d
GROUP BY
    d.tenant_id, d.tx_id, d.leg, d.side, d.account_id, d.stripe, d.posted, d.pending, d.posted_at,
    d.effective_at
HAVING sum(d.n) <> 0
LIMIT 100;
