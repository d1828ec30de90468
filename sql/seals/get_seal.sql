-- seals/get_seal: the last checkpoint of a tree of at most so many leaves.
-- why: the newest one is what most callers want, and what the next one is compared with.
-- params: tenant_id text, at_most bigint
-- kind: read | returns: 0..1
SELECT s.tree_size, s.root, s.sealed_through, s.note, s.created_at
FROM ledger_seals AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.tree_size <= :'at_most'::bigint
ORDER BY s.tree_size DESC
LIMIT 1;
