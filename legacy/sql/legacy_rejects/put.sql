-- legacy_rejects/put: a row that cannot be taken over, and why; never its values (D25).
-- why: set aside and counted by the gates, so that it stops nothing else. What was waived for another
--   reason is open again.
-- params: tenant_id text, domain text, entity_id text, direction text, code text, columns text[]
-- kind: write | returns: count | locks: legacy_rejects row
INSERT INTO legacy_rejects AS r (tenant_id, domain, entity_id, direction, code, columns)
VALUES (
    :'tenant_id'::text, :'domain'::text, :'entity_id'::text, :'direction'::text, :'code'::text,
    :'columns'::text[]
)
ON CONFLICT (tenant_id, domain, entity_id) DO UPDATE
SET
    direction = excluded.direction, columns = excluded.columns, last_seen = now(),
    resolved_at = NULL, code = excluded.code,
    waived_by = CASE WHEN r.code = excluded.code THEN r.waived_by END,
    reason = CASE WHEN r.code = excluded.code THEN r.reason END;
