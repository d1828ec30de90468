-- checks/payments_currency: every payment's and account's currency exists (P3).
-- why: reference data has no foreign keys, so that tenants can be sharded.
-- params: none
-- kind: read | returns: many | scan: all
SELECT u.source, u.tenant_id, u.currency
FROM (
    SELECT DISTINCT 'payments' AS source, p.tenant_id, p.currency
    FROM payments AS p
    UNION ALL
    SELECT DISTINCT 'ledger_accounts' AS source, a.tenant_id, a.currency
    FROM ledger_accounts AS a
) AS u
LEFT JOIN currencies AS c ON u.currency = c.code
WHERE c.code IS NULL
LIMIT 100;
