-- migration_intents/keep_answer: the answer of a settled write, under its idempotency key.
-- why: from phase 2 on what it names is there; a retry finds it in every later phase too.
-- params: tenant_id text, key_row jsonb
-- kind: write | returns: count | locks: the key
INSERT INTO idempotency_keys (
    tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, status, answer,
    resource_type, resource_id, request_id, created_at, expires_at
)
SELECT
    :'tenant_id'::text, r.scope, r.key, r.operation, decode(r.fingerprint, 'hex'),
    r.fingerprint_version, 'completed', r.status, r.answer, r.resource_type, r.resource_id,
    r.request_id, now(), now() + make_interval(secs => r.ttl_s)
FROM jsonb_to_record(:'key_row'::jsonb) AS r (
    scope text, key text, operation text, fingerprint text, fingerprint_version smallint,
    status smallint, answer jsonb, resource_type text, resource_id uuid, request_id text,
    ttl_s bigint
)
ON CONFLICT (tenant_id, scope, key) DO NOTHING;
