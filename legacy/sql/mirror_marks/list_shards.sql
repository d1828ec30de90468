-- mirror_marks/list_shards: the shards that have something to do now.
-- why: most of the time none has; then the mirror asks nothing else.
-- params: tenant_id text, domain text
-- kind: read | returns: many
SELECT g.shard::smallint AS shard
FROM generate_series(0, 63) AS g (shard)
WHERE EXISTS (
    SELECT FROM mirror_marks AS m
    WHERE
        m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
        AND m.shard = g.shard::smallint AND m.next_try_at <= now()
);
