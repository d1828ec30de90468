-- seals/record_tiles: keep tiles that are full now.
-- why: only full ones, so that none is ever written twice.
-- params: tenant_id text, levels bigint[], ns bigint[], hashes bytea[], roots bytea[]
-- kind: write | returns: count | locks: none: only new rows
INSERT INTO ledger_tiles (tenant_id, level, n, hashes, root)  -- noqa: PRS
SELECT :'tenant_id'::text, f.level, f.n, f.hashes, f.root
FROM unnest(:'levels'::bigint[], :'ns'::bigint[], :'hashes'::bytea[], :'roots'::bytea[])
    AS f (level, n, hashes, root);
