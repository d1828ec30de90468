-- events/check_epoch: whether an event of this epoch has a transaction id that is still to come.
-- why: so it is after a logical restore: new events would be ordered before old ones (E4).
-- params: none
-- kind: read | returns: one | scan: all
SELECT count(*) > 0 AS stale
FROM tenants AS t
CROSS JOIN LATERAL (
    SELECT e.epoch, e.xid
    FROM payment_events AS e
    WHERE e.tenant_id = t.tenant_id
    ORDER BY e.epoch DESC, e.xid DESC, e.payment_id DESC, e.seq DESC
    LIMIT 1
) AS newest
WHERE (newest.epoch, newest.xid) >= (event_epoch(), pg_snapshot_xmax(pg_current_snapshot()));
