-- 0017_index_audit: the audit log by time, and by the user whom an event is about.
-- Outside a transaction, since the log has rows: each index is built beside its writers.
-- migrate: no-transaction

CREATE INDEX CONCURRENTLY audit_log_at_idx ON audit_log (tenant_id, at, id);

-- Partial: most machines' events are about no user.
CREATE INDEX CONCURRENTLY audit_log_user_idx ON audit_log (tenant_id, user_id, at, id)
WHERE user_id IS NOT NULL;
