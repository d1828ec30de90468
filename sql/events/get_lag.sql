-- events/get_lag: for how many milliseconds the oldest event that is committed has waited to be served.
-- why: a long write transaction anywhere on the server holds the feed back; 0 if nothing waits.
-- params: none
-- kind: read | returns: one | scan: all
SELECT (extract(EPOCH FROM now() - coalesce(min(held.created_at), now())) * 1000)::bigint AS lag_ms
FROM tenants AS t
CROSS JOIN LATERAL (
    SELECT e.created_at
    FROM payment_events AS e
    WHERE
        e.tenant_id = t.tenant_id
        AND (e.epoch, e.xid) >= (event_epoch(), pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY e.epoch, e.xid, e.payment_id, e.seq
    LIMIT 1
) AS held;
