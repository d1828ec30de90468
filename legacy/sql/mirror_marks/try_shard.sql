-- mirror_marks/try_shard: take one of the 64 shards of a domain, if nobody works on it (D21).
-- why: one mirror at a time copies a key; the lock goes with the transaction.
-- params: tenant_id text, domain text, shard smallint
-- kind: write | returns: one | locks: the shard
SELECT
    pg_try_advisory_xact_lock(
        1397902419,
        hashtext(:'tenant_id'::text || '/' || :'domain'::text || '/' || :'shard'::smallint)
    ) AS taken;
