-- webhooks/create_endpoint: make an endpoint that is told of what happens from now on.
-- why: whatever a transaction under way commits later is told too; what was committed before is not.
--   no row: the tenant has as many as it may have.
-- params: tenant_id text, endpoint_id uuid, url text, description text?, event_types text[], secret_enc bytea, endpoints_max bigint, audit_id uuid, subject text
-- kind: write | returns: 0..1 | scan: tenant | locks: none
WITH made AS (
    INSERT INTO webhook_endpoints (
        tenant_id, id, url, description, event_types, secret_enc, position_epoch, position_xid,
        position_payment_id, position_seq
    )
    SELECT
        :'tenant_id'::text, :'endpoint_id'::uuid, :'url'::text, :'description'::text,
        :'event_types'::text[], :'secret_enc'::bytea, event_epoch(),
        pg_snapshot_xmin(pg_current_snapshot()), '00000000-0000-0000-0000-000000000000', 0
    WHERE (
        SELECT count(*)
        FROM webhook_endpoints AS x
        WHERE x.tenant_id = :'tenant_id'::text AND x.status <> 'deleted'
    ) < :'endpoints_max'::bigint
    RETURNING
        id, url, description, event_types, status, disabled_reason, failing_since, last_success_at,
        previous_until, created_at, updated_at
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, details)
    SELECT
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'webhook_endpoint_created',
        jsonb_build_object('endpoint_id', m.id)
    FROM made AS m
)
SELECT
    m.id, m.url, m.description, m.event_types, m.status::text AS status,
    m.disabled_reason::text AS disabled_reason, m.failing_since, m.last_success_at,
    m.previous_until, m.created_at, m.updated_at
FROM made AS m;
