-- checks/webhooks_order: of each payment the first pending delivery is due, and no other (W1).
-- why: due too early, it would overtake; never due, it would be silent for ever.
-- params: none
-- kind: read | returns: many | scan: all
SELECT d.tenant_id, d.endpoint_id, d.payment_id, d.seq, d.next_attempt_at
FROM (
    SELECT
        p.tenant_id, p.endpoint_id, p.payment_id, p.seq, p.next_attempt_at,
        min(p.seq) OVER (PARTITION BY p.tenant_id, p.endpoint_id, p.payment_id) AS first_seq
    FROM webhook_deliveries AS p
    WHERE p.state = 'pending'
) AS d
WHERE (d.next_attempt_at IS NOT NULL) <> (d.seq = d.first_seq)
LIMIT 100;
