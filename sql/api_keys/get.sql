-- api_keys/get: one key of a tenant, an ended one too.
-- why: for showing it; whether it may come in is decided by api_keys/authenticate alone.
-- params: tenant_id text, key_id text
-- kind: read | returns: 0..1
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
WHERE k.tenant_id = :'tenant_id'::text AND k.id = :'key_id'::text;
