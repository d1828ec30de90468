-- migrate: allow trigger "it reads one row of the same payment, and an old release's inserts need it too"
-- 0045_order_events: the events of one payment come in the feed in the order of their seq.
-- A statement that waited for a payment draws its transaction id when it wakes, and another one,
-- with a later id, may then still lock the new row first: the feed would show the second event
-- before the first. So an event's xid is never less than that of the event before it. A reader
-- loses nothing by it: what is written under a borrowed id is served once its own, lesser id has
-- ended too.

CREATE FUNCTION payment_events_in_order() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    -- A query of its own, not of the statement that waited: it sees what was committed meanwhile.
    new.xid := greatest(
        new.xid,
        (
            SELECT e.xid
            FROM payment_events AS e
            WHERE
                e.tenant_id = new.tenant_id AND e.payment_id = new.payment_id
                AND e.seq < new.seq AND e.epoch = new.epoch
            ORDER BY e.seq DESC
            LIMIT 1
        )
    );
    RETURN new;
END
$$;

CREATE TRIGGER payment_events_in_order
BEFORE INSERT ON payment_events
FOR EACH ROW WHEN (new.seq > 1) EXECUTE FUNCTION payment_events_in_order();
