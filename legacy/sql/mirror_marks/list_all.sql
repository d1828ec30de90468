-- mirror_marks/list_all: marks of all shards of a domain, due or not.
-- why: a phase change drains the rest itself, under all locks (D7).
-- params: tenant_id text, domain text, row_limit bigint
-- kind: read | returns: many
SELECT m.mark_id, m.entity_id, m.attempts
FROM mirror_marks AS m
WHERE m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
ORDER BY m.mark_id
LIMIT :'row_limit'::bigint;
