-- phases/list_moves: the steps that a domain took, newest first, by keyset.
-- why: what was moved when, by whom, and what its gates said.
-- params: tenant_id text, domain text, before_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT
    m.id, m.domain, m.from_phase, m.to_phase, m.at, m.moved_by, m.reason, m.gates, m.waived,
    m.hold_ms
FROM migration_moves AS m
WHERE
    m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
    AND m.id < :'before_id'::uuid
ORDER BY m.id DESC
LIMIT :'row_limit'::bigint;
