-- phases/list_attached: every domain of every tenant that is on its way.
-- why: readiness, the mirror and the metrics look at all of them; there are a handful. Users come
--   first: payments wait for them.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    s.tenant_id, s.domain, s.phase, s.finished_at, s.since, s.moved_by, s.note, s.adapter,
    s.writers, s.ledger_enabled, s.fenced_at
FROM migration_state AS s
WHERE s.finished_at IS NULL
ORDER BY s.tenant_id, s.domain DESC;
