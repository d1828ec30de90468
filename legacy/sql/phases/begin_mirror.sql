-- phases/begin_mirror: what this transaction writes is a copy of what legacy has decided.
-- why: the gate lets the copy through where it refuses everybody else, and the other way round (D5).
-- params: none
-- kind: write | returns: one | locks: none
SELECT set_config('strongroom.mirror', 'on', true) AS mirror;
