-- phases/change_triggers: switch the gate and the capture of a domain's table on or off.
-- why: an installation that moves nothing pays nothing. Waits for the writers of the table.
-- params: domain text, enabled boolean
-- kind: write | returns: one | locks: the table (share row exclusive)
-- role: owner
SELECT legacy_switch(:'domain'::text, :'enabled'::boolean)::text = '' AS switched;
