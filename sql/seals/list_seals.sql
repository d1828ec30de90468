-- seals/list_seals: a tenant's checkpoints, newest first, by keyset.
-- why: the size is the key and grows with time, so it is the cursor too.
-- params: tenant_id text, below bigint, row_limit bigint
-- kind: read | returns: many
SELECT s.tree_size, s.root, s.sealed_through, s.note, s.created_at
FROM ledger_seals AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.tree_size < :'below'::bigint
ORDER BY s.tree_size DESC
LIMIT :'row_limit'::bigint;
