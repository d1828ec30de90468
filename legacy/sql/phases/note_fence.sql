-- phases/note_fence: the legacy program is about to be shut out, or was let in again.
-- why: noted before the fence stands and cleared after it fell, so that one that a crash has left
--   behind is found (D31).
-- params: tenant_id text, domain text, fenced boolean
-- kind: write | returns: count | locks: migration_state row
UPDATE migration_state AS s
SET fenced_at = CASE WHEN :'fenced'::boolean THEN now() END
WHERE s.tenant_id = :'tenant_id'::text AND s.domain = :'domain'::text AND s.finished_at IS NULL;
