-- seals/record_leaves: give transactions their places in the tree, in the order of the list.
-- why: a place is given once: the key refuses a second leaf there, and a second place of a leaf.
-- params: tenant_id text, first_idx bigint, tx_ids uuid[], late boolean
-- kind: write | returns: count | locks: none: only new rows
INSERT INTO ledger_leaves (tenant_id, idx, tx_id, late)
SELECT :'tenant_id'::text, :'first_idx'::bigint + n.place - 1, n.tx_id, :'late'::boolean
FROM unnest(:'tx_ids'::uuid[]) WITH ORDINALITY AS n (tx_id, place);
