-- webhooks/finish_delivery: record an attempt; no row: the lease was lost, its result is dropped.
-- why: an endpoint that is gone, or has not answered by 2xx for a while, is disabled, and the audit
--   log says so: it must not lapse in silence. The endpoint is locked before (lock_endpoint).
-- params: tenant_id text, endpoint_id uuid, payment_id uuid, seq bigint, lease_token uuid, state text, delay_ms bigint, status smallint?, error text?, is_gone boolean, failing_max_s bigint, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: webhook_endpoints row, held already, then webhook_deliveries row
WITH finished AS (
    UPDATE webhook_deliveries AS d
    SET
        state = :'state'::text::webhook_delivery_state,
        attempts = d.attempts + 1,
        next_attempt_at = CASE
            WHEN :'state'::text = 'pending' AND d.next_attempt_at IS NOT NULL
                THEN now() + interval '1 ms' * :'delay_ms'::bigint
        END,
        lease_token = NULL,
        lease_until = NULL,
        last_attempt_at = now(),
        last_status = :'status'::smallint,
        last_error = :'error'::text
    WHERE
        d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
        AND d.payment_id = :'payment_id'::uuid AND d.seq = :'seq'::bigint
        AND d.lease_token = :'lease_token'::uuid
    RETURNING d.attempts
),
endpoint AS (
    SELECT
        CASE
            WHEN x.status <> 'active' OR :'state'::text = 'delivered' THEN NULL
            WHEN :'is_gone'::boolean THEN 'gone'
            WHEN x.failing_since <= now() - interval '1 s' * :'failing_max_s'::bigint THEN 'failing'
        END AS disabled
    FROM webhook_endpoints AS x
    CROSS JOIN finished AS f
    WHERE x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid
),
told AS (
    UPDATE webhook_endpoints AS x
    SET
        last_success_at = CASE
            WHEN :'state'::text = 'delivered' THEN now() ELSE x.last_success_at
        END,
        failing_since = CASE
            WHEN :'state'::text <> 'delivered' THEN coalesce(x.failing_since, now())
        END,
        status = CASE WHEN n.disabled IS NULL THEN x.status ELSE 'disabled' END,
        disabled_reason = coalesce(n.disabled::webhook_disabled_reason, x.disabled_reason)
    FROM endpoint AS n
    WHERE x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'webhook_endpoint_disabled',
        n.disabled, jsonb_build_object('endpoint_id', :'endpoint_id'::uuid)
    FROM endpoint AS n
    WHERE n.disabled IS NOT NULL
)
SELECT f.attempts, n.disabled
FROM finished AS f CROSS JOIN endpoint AS n;
