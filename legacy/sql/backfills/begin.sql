-- backfills/begin: where the backfill of a domain is, or a new one from the start.
-- why: cursor and batch commit together, so that a run that was killed goes on (D27). `restarts` takes
--   it back to the first row; one that is finished stays so without it.
-- params: tenant_id text, domain text, restarts boolean
-- kind: write | returns: one | locks: backfill_cursors row
INSERT INTO backfill_cursors AS b (tenant_id, domain)
VALUES (:'tenant_id'::text, :'domain'::text)
ON CONFLICT (tenant_id, domain) DO UPDATE
SET
    after_id = CASE WHEN NOT :'restarts'::boolean THEN b.after_id END,
    rows_done = CASE WHEN :'restarts'::boolean THEN 0 ELSE b.rows_done END,
    rows_rejected = CASE WHEN :'restarts'::boolean THEN 0 ELSE b.rows_rejected END,
    started_at = CASE WHEN :'restarts'::boolean THEN now() ELSE b.started_at END,
    finished_at = CASE WHEN NOT :'restarts'::boolean THEN b.finished_at END
RETURNING after_id, rows_done, rows_rejected, started_at, finished_at;
