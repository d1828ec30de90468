-- backfills/get: how far the backfill of a domain is.
-- why: for status, and for the mirror: a key gone at the truth keeps its mark until the end (D28).
-- params: tenant_id text, domain text
-- kind: read | returns: 0..1
SELECT b.after_id, b.rows_done, b.rows_rejected, b.started_at, b.finished_at
FROM backfill_cursors AS b
WHERE b.tenant_id = :'tenant_id'::text AND b.domain = :'domain'::text;
