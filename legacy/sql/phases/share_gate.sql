-- phases/share_gate: hold the phase of a domain still until this transaction ends (D5).
-- why: as the gate's trigger does, for writes to the other store; the phase is read by the next
--   statement, whose snapshot is younger than the lock (D6).
-- params: tenant_id text, domain text
-- kind: write | returns: one | locks: the gate, shared
SELECT true AS locked
FROM (
    SELECT
        pg_advisory_xact_lock_shared(
            1397902407, hashtext(:'tenant_id'::text || '/' || :'domain'::text)
        )
) AS l;
