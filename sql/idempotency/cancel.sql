-- idempotency/cancel: a key that was never seen shall never have an effect (K9).
-- why: the primary key decides beside a first request that runs: this waits for it and then gives 0.
-- params: tenant_id text, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, request_id text
-- kind: write | returns: count | locks: the key
-- claims: key
INSERT INTO idempotency_keys AS k (
    tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, request_id,
    created_at, expires_at
)
VALUES
(
    :'tenant_id'::text, :'scope'::text, :'key'::text, :'operation'::text, :'fingerprint'::bytea,
    :'fingerprint_version'::smallint, 'cancelled', :'request_id'::text, now(),
    now() + make_interval(secs => :'ttl_s'::bigint)
)
ON CONFLICT (tenant_id, scope, key) DO UPDATE
SET
    operation = excluded.operation, fingerprint = excluded.fingerprint,
    fingerprint_version = excluded.fingerprint_version, kind = excluded.kind, status = NULL,
    answer = NULL, resource_type = NULL, resource_id = NULL, request_id = excluded.request_id,
    created_at = excluded.created_at, expires_at = excluded.expires_at
WHERE k.expires_at <= excluded.created_at;
