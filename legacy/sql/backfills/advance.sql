-- backfills/advance: a batch is done.
-- why: in the transaction of the batch (D27). `is_last`: nothing came after it.
-- params: tenant_id text, domain text, after_id text?, done bigint, rejected bigint, is_last boolean
-- kind: write | returns: count | locks: backfill_cursors row
UPDATE backfill_cursors AS b
SET
    after_id = coalesce(:'after_id'::text, b.after_id),
    rows_done = b.rows_done + :'done'::bigint,
    rows_rejected = b.rows_rejected + :'rejected'::bigint,
    finished_at = CASE WHEN :'is_last'::boolean THEN now() END
WHERE b.tenant_id = :'tenant_id'::text AND b.domain = :'domain'::text;
