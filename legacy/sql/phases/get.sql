-- phases/get: in which phase a domain of a tenant is; no row: it was never attached.
-- why: read by primary key at the start of each use case, on the primary server, and never kept (D8).
-- params: tenant_id text, domain text
-- kind: read | returns: 0..1
SELECT
    s.tenant_id, s.domain, s.phase, s.finished_at, s.since, s.moved_by, s.note, s.adapter,
    s.writers, s.ledger_enabled, s.fenced_at
FROM migration_state AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.domain = :'domain'::text;
