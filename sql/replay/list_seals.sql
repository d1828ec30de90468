-- replay/list_seals: the checkpoints of trees of at least so many leaves, oldest first (L4).
-- why: each is compared with the tree as the transactions make it now.
-- params: tenant_id text, at_least bigint
-- kind: read | returns: many
SELECT s.tree_size, s.root, s.note
FROM ledger_seals AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.tree_size >= :'at_least'::bigint
ORDER BY s.tree_size;
