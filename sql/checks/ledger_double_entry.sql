-- checks/ledger_double_entry: per tenant and currency debits are credits (LI2).
-- why: money moves between accounts of one currency; it is neither made nor lost.
-- params: none
-- kind: read | returns: many | scan: all
WITH sides AS (
    SELECT
        'entries' AS source, e.tenant_id, a.currency,
        sum(e.side * e.posted) AS posted, sum(e.side * e.pending) AS pending
    FROM ledger_entries AS e
    LEFT JOIN ledger_accounts AS a ON e.tenant_id = a.tenant_id AND e.account_id = a.account_id
    GROUP BY e.tenant_id, a.currency
    UNION ALL
    SELECT
        'balances' AS source, b.tenant_id, b.currency,
        sum(b.credits_posted - b.debits_posted) AS posted,
        sum(b.credits_pending - b.debits_pending) AS pending
    FROM ledger_balances AS b
    GROUP BY b.tenant_id, b.currency
    UNION ALL
    SELECT
        'headers' AS source, t.tenant_id, dr.currency, sum(l.amount) AS posted, 0 AS pending
    FROM ledger_transactions AS t
    CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts, t.amounts)
    AS l (debit, credit, amount)
    LEFT JOIN ledger_accounts AS dr ON t.tenant_id = dr.tenant_id AND l.debit = dr.account_id
    LEFT JOIN ledger_accounts AS cr ON t.tenant_id = cr.tenant_id AND l.credit = cr.account_id
    WHERE dr.currency = cr.currency IS NOT TRUE
    GROUP BY t.tenant_id, dr.currency
)
SELECT s.source, s.tenant_id, s.currency, s.posted, s.pending
FROM sides AS s
WHERE s.posted <> 0 OR s.pending <> 0
LIMIT 100;
