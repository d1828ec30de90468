-- api_keys/list_page: keys of a tenant, newest first, those that ended included.
-- why: a tenant has few keys, each made by hand, so they are sorted without an index.
-- params: tenant_id text, before_at text, before_id text, row_limit bigint
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
WHERE
    k.tenant_id = :'tenant_id'::text
    AND (k.created_at, k.id) < (:'before_at'::text::timestamptz, :'before_id'::text)
ORDER BY k.created_at DESC, k.id DESC
LIMIT :'row_limit'::bigint;
