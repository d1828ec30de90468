-- api_keys/authenticate: what a presented key is worth now; no row if it is unknown or has ended.
-- why: every request proves here that its key still lives, so a revocation counts at once (A12).
-- The hash is compared by the caller in constant time, not by an index whose timing tells.
-- params: tenant_id text, key_id text
-- kind: read | returns: 0..1
SELECT
    k.key_hash,
    'key:' || k.principal_id::text AS subject,
    k.scopes,
    k.allowed_cidrs::text[] AS allowed_cidrs,
    t.status = 'active' AS tenant_active
FROM api_keys AS k
INNER JOIN tenants AS t ON k.tenant_id = t.tenant_id
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.id = :'key_id'::text
    AND k.revoked_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > now());
