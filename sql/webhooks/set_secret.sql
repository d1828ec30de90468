-- webhooks/set_secret: give an endpoint a new secret; the old one signs beside it for a while.
-- why: a receiver that knows either accepts every delivery, so nobody has to change at one moment.
-- params: tenant_id text, endpoint_id uuid, secret_enc bytea, overlap_s bigint, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: webhook_endpoints row
WITH rotated AS (
    UPDATE webhook_endpoints AS x
    SET
        previous_secret_enc = x.secret_enc,
        previous_until = now() + interval '1 s' * :'overlap_s'::bigint,
        secret_enc = :'secret_enc'::bytea,
        updated_at = now()
    WHERE
        x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid
        AND x.status <> 'deleted'
    RETURNING
        x.id, x.url, x.description, x.event_types, x.status, x.disabled_reason, x.failing_since,
        x.last_success_at, x.previous_until, x.created_at, x.updated_at
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, details)
    SELECT
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'webhook_secret_rotated',
        jsonb_build_object('endpoint_id', r.id)
    FROM rotated AS r
)
SELECT
    r.id, r.url, r.description, r.event_types, r.status::text AS status,
    r.disabled_reason::text AS disabled_reason, r.failing_since, r.last_success_at,
    r.previous_until, r.created_at, r.updated_at
FROM rotated AS r;
