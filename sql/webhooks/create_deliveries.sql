-- webhooks/create_deliveries: pass the next events of the feed, with a delivery for each wanted one.
-- why: deliveries and position commit together, so no event is left out and none is sent twice for
--   having been read twice. The endpoint is locked before (lock_endpoint), and they are due after
--   (set_due).
-- params: tenant_id text, endpoint_id uuid, row_limit bigint
-- kind: write | returns: one | locks: webhook_endpoints row, held already
WITH endpoint AS (
    SELECT
        x.event_types, x.position_epoch, x.position_xid, x.position_payment_id, x.position_seq
    FROM webhook_endpoints AS x
    WHERE
        x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid AND x.status = 'active'
),
passed AS (
    SELECT e.epoch, e.xid, e.payment_id, e.seq, e.type
    FROM endpoint AS x
    CROSS JOIN payment_events AS e
    WHERE
        e.tenant_id = :'tenant_id'::text
        AND (e.epoch, e.xid, e.payment_id, e.seq)
        > (x.position_epoch, x.position_xid, x.position_payment_id, x.position_seq)
        AND (e.epoch, e.xid) < (event_epoch(), pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY e.epoch, e.xid, e.payment_id, e.seq
    LIMIT :'row_limit'::bigint
),
made AS (
    INSERT INTO webhook_deliveries (tenant_id, endpoint_id, payment_id, seq)
    SELECT :'tenant_id'::text, :'endpoint_id'::uuid, p.payment_id, p.seq
    FROM endpoint AS x
    CROSS JOIN passed AS p
    WHERE x.event_types = '{}' OR p.type = any(x.event_types)
    RETURNING payment_id
),
moved AS (
    UPDATE webhook_endpoints AS x
    SET
        position_epoch = n.epoch, position_xid = n.xid, position_payment_id = n.payment_id,
        position_seq = n.seq
    FROM (
        SELECT p.epoch, p.xid, p.payment_id, p.seq
        FROM passed AS p
        ORDER BY p.epoch DESC, p.xid DESC, p.payment_id DESC, p.seq DESC
        LIMIT 1
    ) AS n
    WHERE x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid
)
SELECT
    (SELECT count(*) FROM passed) AS passed,
    (SELECT coalesce(array_agg(DISTINCT m.payment_id), '{}') FROM made AS m) AS payment_ids;
