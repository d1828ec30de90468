-- events/list: the feed of a tenant after a position, in an order that no commit changes any more.
-- why: an id is drawn before its commit, so rows are served once every transaction as old has ended:
--   whatever commits later comes behind what was served, never before it (E3).
--   an event of another type is a row without the event: the reader's position passes it.
-- params: tenant_id text, after_epoch smallint, after_xid text, after_payment_id uuid, after_seq bigint, types text, row_limit bigint
-- kind: read | returns: many
SELECT
    e.epoch, e.xid::text AS xid, e.payment_id, e.seq,
    CASE
        WHEN :'types'::text = '' OR e.type = any(string_to_array(:'types'::text, ','))
            THEN payment_event_json(e)
    END AS event
FROM payment_events AS e
WHERE
    e.tenant_id = :'tenant_id'::text
    AND (e.epoch, e.xid, e.payment_id, e.seq) > (
        :'after_epoch'::smallint, :'after_xid'::text::xid8, :'after_payment_id'::uuid,
        :'after_seq'::bigint
    )
    AND (e.epoch, e.xid) < (event_epoch(), pg_snapshot_xmin(pg_current_snapshot()))
ORDER BY e.epoch, e.xid, e.payment_id, e.seq
LIMIT :'row_limit'::bigint;
