-- checks/webhooks_links: a delivery is of an event that its endpoint's position has passed (W1).
-- why: deliveries have no foreign key to the event log; this proves what one would, and that what
--   is made and how far it was made are committed together.
-- params: none
-- kind: read | returns: many | scan: all
SELECT d.tenant_id, d.endpoint_id, d.payment_id, d.seq
FROM webhook_deliveries AS d
INNER JOIN webhook_endpoints AS x ON d.tenant_id = x.tenant_id AND d.endpoint_id = x.id
LEFT JOIN payment_events AS e
    ON d.tenant_id = e.tenant_id AND d.payment_id = e.payment_id AND d.seq = e.seq
WHERE
    ((e.epoch, e.xid, e.payment_id, e.seq)
    <= (x.position_epoch, x.position_xid, x.position_payment_id, x.position_seq)) IS NOT TRUE
LIMIT 100;
