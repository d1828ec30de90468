-- seals/get_tile: 256 hashes of the tree, or none while the tile is not full.
-- params: tenant_id text, level bigint, n bigint
-- why: a proof needs one tile of each level; a tile never changes.
-- kind: read | returns: 0..1
SELECT t.hashes
FROM ledger_tiles AS t
WHERE
    t.tenant_id = :'tenant_id'::text AND t.level = :'level'::bigint AND t.n = :'n'::bigint;
