-- webhooks/list_behind: active endpoints for which the feed has events behind their position.
-- why: a plain read of one index entry each, so that a quiet second costs almost nothing.
-- params: tenant_id text?
-- kind: read | returns: many | scan: all
SELECT x.tenant_id, x.id
FROM webhook_endpoints AS x
WHERE
    x.status = 'active'
    AND x.tenant_id = coalesce(:'tenant_id'::text, x.tenant_id)
    AND EXISTS (
        SELECT FROM payment_events AS e
        WHERE
            e.tenant_id = x.tenant_id
            AND (e.epoch, e.xid, e.payment_id, e.seq)
            > (x.position_epoch, x.position_xid, x.position_payment_id, x.position_seq)
            AND (e.epoch, e.xid) < (event_epoch(), pg_snapshot_xmin(pg_current_snapshot()))
    )
ORDER BY x.tenant_id, x.id;
