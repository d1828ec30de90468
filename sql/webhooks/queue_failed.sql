-- webhooks/queue_failed: send again what was given up, oldest first, some at a time.
-- why: after an endpoint was mended; set_due lets them be due afterwards.
-- params: tenant_id text, endpoint_id uuid, failed_since text, row_limit bigint
-- kind: write | returns: many | locks: webhook_deliveries rows; their endpoint is locked already
UPDATE webhook_deliveries AS d
SET state = 'pending', attempts = 0
FROM (
    SELECT f.payment_id, f.seq
    FROM webhook_deliveries AS f
    WHERE
        f.tenant_id = :'tenant_id'::text AND f.endpoint_id = :'endpoint_id'::uuid
        AND f.state = 'failed' AND f.created_at >= :'failed_since'::text::timestamptz
    ORDER BY f.created_at, f.payment_id, f.seq
    LIMIT :'row_limit'::bigint
) AS failed
WHERE
    d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
    AND d.payment_id = failed.payment_id AND d.seq = failed.seq
RETURNING d.payment_id;
