-- webhooks/claim_delivery: take the delivery that an endpoint is owed longest, for the lease's time.
-- why: of many workers one gets it; if it dies, the lease runs out and another one sends it again.
-- params: tenant_id text, endpoint_id uuid, lease_token uuid, lease_ms bigint
-- kind: write | returns: 0..1 | locks: webhook_deliveries row, skipping locked ones
WITH endpoint AS (
    SELECT
        x.url, x.secret_enc,
        CASE WHEN x.previous_until > now() THEN x.previous_secret_enc END AS previous_secret_enc
    FROM webhook_endpoints AS x
    WHERE
        x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid AND x.status = 'active'
),
due AS (
    SELECT d.payment_id, d.seq
    FROM webhook_deliveries AS d
    WHERE
        d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
        AND d.next_attempt_at <= now()
        AND (d.lease_until IS NULL OR d.lease_until <= now())
        AND EXISTS (SELECT FROM endpoint)
    ORDER BY d.next_attempt_at
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE webhook_deliveries AS d
    SET
        lease_token = :'lease_token'::uuid,
        lease_until = now() + interval '1 ms' * :'lease_ms'::bigint
    FROM due
    WHERE
        d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
        AND d.payment_id = due.payment_id AND d.seq = due.seq
    RETURNING d.payment_id, d.seq, d.attempts
)
SELECT
    c.payment_id, c.seq, c.attempts, payment_event_json(e) AS event, x.url, x.secret_enc,
    x.previous_secret_enc
FROM claimed AS c
CROSS JOIN endpoint AS x
INNER JOIN payment_events AS e
    ON e.tenant_id = :'tenant_id'::text AND c.payment_id = e.payment_id AND c.seq = e.seq;
