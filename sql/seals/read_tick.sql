-- seals/read_tick: the clock, then a transaction id, and the oldest id that still runs (LT4).
-- why: a posting takes its id, then its locks, then the clock. Whoever read a clock of this time or
--   earlier therefore has an id below this one, and is done once no id below it runs. So the order
--   matters: this is the first statement of its transaction, and the id follows from the clock's
--   row. Reading a distributed table makes it the clock of the node that has the rows.
-- params: tenant_id text
-- kind: read | returns: one
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS tick_at
    FROM ledger_seal_state AS s
    WHERE s.tenant_id = :'tenant_id'::text
)
SELECT
    c.tick_at, pg_current_xact_id()::text AS tick_xid,
    pg_snapshot_xmin(pg_current_snapshot())::text AS oldest_xid,
    (SELECT n.system_identifier::text FROM pg_control_system() AS n) AS node
FROM clock AS c;
