-- ledger_exports/list_accounts: accounts as lines of JSON, in the order of their opening.
-- why: with the transactions, all that a book is made of; the numeric id stays inside (LA1). A
--   restore opens them in this order, so entries come in one order too.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT
    json_build_object(
        'code', a.code, 'currency', a.currency, 'name', a.name,
        'normal_side', CASE a.normal_side WHEN 1 THEN 'credit' ELSE 'debit' END,
        'status', s.status, 'floor_minor', s.floor, 'ceiling_minor', s.ceiling,
        'stripes', a.stripes, 'owner_user_id', a.owner_user_id, 'metadata', a.metadata,
        'version', a.version
    )::text AS line
FROM ledger_accounts AS a
CROSS JOIN LATERAL (
    SELECT min(b.status) AS status, sum(b.floor)::bigint AS floor, max(b.ceiling) AS ceiling
    FROM ledger_balances AS b
    WHERE b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
) AS s
WHERE a.tenant_id = :'tenant_id'::text
ORDER BY a.account_id;
