-- phases/lock_gate: keep all writers of a domain out until this transaction ends (D7).
-- why: the gate's trigger takes the same lock shared; who waits behind us sees the new phase.
-- params: tenant_id text, domain text
-- kind: write | returns: one | locks: the gate, exclusively
SELECT true AS locked
FROM (
    SELECT
        pg_advisory_xact_lock(
            1397902407, hashtext(:'tenant_id'::text || '/' || :'domain'::text)
        )
) AS l;
