-- seals/set_state: move the watermark, and keep the tick that the next move waits for.
-- why: under the lock of seals/claim_state; the watermark never goes back (LT5).
-- params: tenant_id text, sealed_through text, tree_size bigint, tick_at text, tick_xid text?, tick_node text
-- kind: write | returns: count | locks: the tenant's ledger_seal_state row, held already
UPDATE ledger_seal_state AS s
SET
    sealed_through = greatest(s.sealed_through, :'sealed_through'::text::timestamptz),
    tree_size = :'tree_size'::bigint, tick_at = :'tick_at'::text::timestamptz,
    tick_xid = :'tick_xid'::text::xid8, tick_node = :'tick_node'::text
WHERE s.tenant_id = :'tenant_id'::text;
