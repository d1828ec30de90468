-- backfills/lock: hold the cursor, so that two runs take batches in turn.
-- why: in the transaction of the batch (D27).
-- params: tenant_id text, domain text
-- kind: write | returns: 0..1 | locks: backfill_cursors row
SELECT b.after_id, b.rows_done, b.rows_rejected, b.started_at, b.finished_at
FROM backfill_cursors AS b
WHERE b.tenant_id = :'tenant_id'::text AND b.domain = :'domain'::text
FOR NO KEY UPDATE;
