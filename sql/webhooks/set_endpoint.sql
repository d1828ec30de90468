-- webhooks/set_endpoint: change what is given; no row: there is no such endpoint.
-- why: a member that is left out stays. Enabled again, an endpoint goes on where it was: it gets all
--   that it has missed, and has as long as a new one until it counts as failing.
-- params: tenant_id text, endpoint_id uuid, url text?, sets_description boolean, description text?, event_types text, sets_event_types boolean, status text?, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: webhook_endpoints row
WITH changed AS (
    UPDATE webhook_endpoints AS x
    SET
        url = coalesce(:'url'::text, x.url),
        description = CASE
            WHEN :'sets_description'::boolean THEN :'description'::text ELSE x.description
        END,
        event_types = CASE
            WHEN :'sets_event_types'::boolean THEN string_to_array(:'event_types'::text, ',')
            ELSE x.event_types
        END,
        status = coalesce(:'status'::text::webhook_endpoint_status, x.status),
        disabled_reason = CASE :'status'::text
            WHEN 'disabled' THEN coalesce(x.disabled_reason, 'by_request')
            WHEN 'active' THEN NULL
            ELSE x.disabled_reason
        END,
        failing_since = CASE WHEN :'status'::text = 'active' THEN NULL ELSE x.failing_since END,
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
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'webhook_endpoint_changed',
        jsonb_build_object('endpoint_id', c.id, 'status', c.status)
    FROM changed AS c
)
SELECT
    c.id, c.url, c.description, c.event_types, c.status::text AS status,
    c.disabled_reason::text AS disabled_reason, c.failing_since, c.last_success_at,
    CASE WHEN c.previous_until > now() THEN c.previous_until END AS previous_until,
    c.created_at, c.updated_at
FROM changed AS c;
