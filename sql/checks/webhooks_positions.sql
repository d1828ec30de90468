-- checks/webhooks_positions: no endpoint's position is ahead of what the feed serves (W1, E3).
-- why: an event that is committed behind a position would never be delivered.
-- params: none
-- kind: read | returns: many | scan: all
SELECT x.tenant_id, x.id, x.position_epoch, x.position_xid::text AS position_xid
FROM webhook_endpoints AS x
WHERE
    (x.position_epoch, x.position_xid)
    > (event_epoch(), pg_snapshot_xmin(pg_current_snapshot()))
LIMIT 100;
