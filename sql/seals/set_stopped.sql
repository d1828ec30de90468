-- seals/set_stopped: note why nothing is signed any more, or that it may be again.
-- why: the reason outlives the worker that found it; a person decides (LM4, LM8).
-- params: tenant_id text, reason text?
-- kind: write | returns: count | locks: the tenant's ledger_seal_state row
UPDATE ledger_seal_state AS s
SET stopped_reason = :'reason'::text
WHERE
    s.tenant_id = :'tenant_id'::text AND s.stopped_reason IS DISTINCT FROM :'reason'::text;
