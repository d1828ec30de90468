-- api_keys/list_by_tenant: all keys of a tenant, oldest first, those that ended included.
-- why: a tenant has few keys, each made by hand, so they are sorted without an index.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT
    k.tenant_id,
    k.id,
    k.principal_id,
    k.name,
    k.scopes,
    k.allowed_cidrs::text[] AS allowed_cidrs,
    k.created_at,
    k.expires_at,
    k.last_used_at,
    k.revoked_at
FROM api_keys AS k
WHERE k.tenant_id = :'tenant_id'::text
ORDER BY k.created_at, k.id;
