-- phases/begin_switch: how long this transaction may wait for locks.
-- why: a phase change waits for the writers that are under way, and gives up before they suffer (D7).
-- params: wait_ms bigint
-- kind: write | returns: one | locks: none
SELECT set_config('lock_timeout', :'wait_ms'::bigint::text, true) AS lock_timeout;
