-- payments/list_unposted: payments that the ledger does not know in full (P34).
-- why: by id, page by page, so that one that the ledger refuses does not stop the rest.
-- params: tenant_id text, after_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT p.id
FROM payments AS p
WHERE p.tenant_id = :'tenant_id'::text AND p.unposted AND p.id > :'after_id'::uuid
ORDER BY p.id
LIMIT :'row_limit'::bigint;
