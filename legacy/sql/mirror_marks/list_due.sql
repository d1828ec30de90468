-- mirror_marks/list_due: marks of a shard whose time has come, the longest waiting first.
-- why: read before the rows they name: what changes meanwhile has a mark of its own (D21). The clock,
--   not now(): a phase change drains in a transaction that began before the last marks were made.
-- params: tenant_id text, domain text, shard smallint, row_limit bigint
-- kind: read | returns: many
SELECT m.mark_id, m.entity_id, m.attempts
FROM mirror_marks AS m
WHERE
    m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
    AND m.shard = :'shard'::smallint AND m.next_try_at <= clock_timestamp()
ORDER BY m.next_try_at
LIMIT :'row_limit'::bigint;
