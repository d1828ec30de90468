-- phases/lock_shards: keep the mirror of a domain still until this transaction ends (D7).
-- why: a phase change takes all 64 shards, in order, so that nothing is on its way when it looks.
-- params: tenant_id text, domain text
-- kind: write | returns: one | locks: the mirror's shards
SELECT count(l.locked) AS locked
FROM (
    SELECT
        pg_advisory_xact_lock(
            1397902419, hashtext(:'tenant_id'::text || '/' || :'domain'::text || '/' || g.shard)
        )::text AS locked
    FROM generate_series(0, 63) AS g (shard)
    ORDER BY g.shard
) AS l;
