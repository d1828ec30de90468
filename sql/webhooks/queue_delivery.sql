-- webhooks/queue_delivery: send one delivery again, from its first attempt on.
-- why: due at once if nothing earlier of the payment is pending; set_due says so afterwards.
-- params: tenant_id text, endpoint_id uuid, payment_id uuid, seq bigint
-- kind: write | returns: many | locks: webhook_deliveries row; its endpoint is locked already
UPDATE webhook_deliveries AS d
SET state = 'pending', attempts = 0, next_attempt_at = NULL
WHERE
    d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
    AND d.payment_id = :'payment_id'::uuid AND d.seq = :'seq'::bigint
RETURNING d.payment_id;
