-- idempotency/get: what is stored under a key, if it has not expired.
-- params: tenant_id text, scope text, key text
-- why: the key decides whether a request is new, so it is read on the primary, never from Redis.
-- kind: read | returns: 0..1
SELECT
    k.kind::text AS kind, k.operation, k.fingerprint, k.fingerprint_version, k.status, k.answer,
    k.resource_type, k.resource_id, k.created_at, k.expires_at
FROM idempotency_keys AS k
WHERE
    k.tenant_id = :'tenant_id'::text AND k.scope = :'scope'::text AND k.key = :'key'::text
    AND k.expires_at > now();
