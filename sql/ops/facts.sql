-- ops/facts: what the server is, whether it can be written to, and which history it holds.
-- why: readiness asks it, also before there is a schema, so it reads no table of ours.
-- params: none
-- kind: read | returns: one
SELECT
    current_setting('server_version') AS version,
    pg_is_in_recovery() AS in_recovery,
    current_setting('transaction_read_only')::boolean AS read_only,
    clock_timestamp() AS clock,
    (SELECT c.system_identifier FROM pg_control_system() AS c) AS system_identifier,
    -- The control file learns of a failover a checkpoint late; a standby cannot name its WAL file.
    CASE
        WHEN pg_is_in_recovery() THEN (SELECT c.timeline_id FROM pg_control_checkpoint() AS c)
        ELSE ('0x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::integer
    END AS timeline;
