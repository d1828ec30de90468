-- 0020_event_epochs: which history of the database an event belongs to.
-- Transaction ids order the event feed, and a logical restore starts them anew. So each restore
-- begins an epoch, and the feed goes by (epoch, xid).

-- Read where an event is written and where the feed is read: one place says which epoch it is.
CREATE FUNCTION event_epoch() RETURNS smallint
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT s.value::smallint
            FROM settings AS s
            WHERE s.tenant_id = '-' AND s.name = 'event_epoch'
        ),
        1
    );
END
$$;

ALTER TABLE payment_events ALTER COLUMN epoch SET DEFAULT event_epoch();

-- Every event is written by a statement that writes `payments` too: the lock waits for those of the
-- old epoch, so that none of them is committed behind the first of the new one.
CREATE FUNCTION begin_event_epoch(begun_by text) RETURNS smallint
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    LOCK TABLE payments IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO settings AS s (tenant_id, name, value, updated_by)
    VALUES ('-', 'event_epoch', to_jsonb(event_epoch() + 1), begun_by)
    ON CONFLICT (tenant_id, name) DO UPDATE
    SET
        value = excluded.value, version = s.version + 1, updated_by = excluded.updated_by,
        updated_at = now();
    RETURN event_epoch();
END
$$;

-- An event as it is answered and sent: one list of columns for the feed and the webhooks.
CREATE FUNCTION payment_event_json(e payment_events) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'id', e.payment_id || '-' || e.seq,
    'payment_id', e.payment_id,
    'seq', e.seq,
    'type', e.type,
    'amount_minor', e.amount_minor,
    'status_from', e.status_from,
    'status_to', e.status_to,
    'after', e.after,
    'object_id', e.object_id,
    'actor', e.actor,
    'request_id', e.request_id,
    'created_at', e.created_at
);
