-- webhooks/set_due: let the first pending delivery of each of these payments be due, and no other.
-- why: an endpoint gets the events of a payment in their order; one that is over frees the next.
-- params: tenant_id text, endpoint_id uuid, payment_ids uuid[]
-- kind: write | returns: count | locks: webhook_deliveries rows; their endpoint is locked already
UPDATE webhook_deliveries AS d
SET next_attempt_at = CASE WHEN d.seq = f.seq THEN now() END
FROM (
    SELECT p.payment_id, min(p.seq) AS seq
    FROM webhook_deliveries AS p
    WHERE
        p.tenant_id = :'tenant_id'::text AND p.endpoint_id = :'endpoint_id'::uuid
        AND p.payment_id = any(:'payment_ids'::uuid[]) AND p.state = 'pending'
    GROUP BY p.payment_id
) AS f
WHERE
    d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
    AND d.payment_id = f.payment_id AND d.state = 'pending'
    AND (d.next_attempt_at IS NOT NULL) <> (d.seq = f.seq);
