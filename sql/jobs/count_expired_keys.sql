-- jobs/count_expired_keys: how many of a tenant's idempotency keys have expired.
-- why: `--dry-run` says what would go.
-- params: tenant_id text
-- kind: read | returns: one
SELECT count(*) AS expired
FROM idempotency_keys AS k
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.expires_at <= now();
