-- seals/claim_state: lock a tenant's row of what is sealed; no row if another worker has it.
-- why: one sealer at a time is enough; a second one does not wait for it. No writer touches it.
-- params: tenant_id text
-- kind: write | returns: 0..1 | locks: the tenant's ledger_seal_state row, skipping a locked one
SELECT
    nullif(s.sealed_through, '-infinity') AS sealed_through, s.tree_size, s.tick_at,
    s.tick_xid::text AS tick_xid, s.tick_node, s.stopped_reason
FROM ledger_seal_state AS s
WHERE s.tenant_id = :'tenant_id'::text
FOR NO KEY UPDATE SKIP LOCKED;
