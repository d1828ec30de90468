-- phases/try_gate: hold the phase of a domain still, unless it is being changed.
-- why: the mirror must not wait behind a phase change, which waits for it (D31).
-- params: tenant_id text, domain text
-- kind: write | returns: one | locks: the gate, shared
SELECT
    pg_try_advisory_xact_lock_shared(
        1397902407, hashtext(:'tenant_id'::text || '/' || :'domain'::text)
    ) AS taken;
