-- seals/list_tile_roots: the hashes over some full tiles of one level.
-- why: they are what the tile above is made of; before that one is full it is stored nowhere else.
-- params: tenant_id text, level bigint, first_n bigint, end_n bigint
-- kind: read | returns: many
SELECT t.root
FROM ledger_tiles AS t
WHERE
    t.tenant_id = :'tenant_id'::text AND t.level = :'level'::bigint
    AND t.n >= :'first_n'::bigint AND t.n < :'end_n'::bigint
ORDER BY t.n;
