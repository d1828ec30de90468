-- jobs/delete_expired_keys: delete a tenant's idempotency keys that have expired, oldest first.
-- why: a key that is being taken over is locked and left alone; once it is, it has not expired.
-- params: tenant_id text, batch bigint
-- kind: write | returns: count | locks: idempotency_keys rows, skipping locked ones
WITH expired AS (
    SELECT
        k.scope,
        k.key
    FROM idempotency_keys AS k
    WHERE
        k.tenant_id = :'tenant_id'::text
        AND k.expires_at <= now()
    ORDER BY k.expires_at
    LIMIT :'batch'::bigint
    FOR UPDATE SKIP LOCKED
)

DELETE FROM idempotency_keys AS k
USING expired
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.scope = expired.scope
    AND k.key = expired.key;
