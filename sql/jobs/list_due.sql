-- jobs/list_due: which of these jobs are due and free, the longest due first.
-- why: a plain read, so that idle workers lock nothing; the claim decides who runs one.
-- params: jobs text[]
-- kind: read | returns: many | scan: all
SELECT j.job
FROM jobs AS j
WHERE
    j.tenant_id = '-'
    AND j.job = any(:'jobs'::text[])
    AND NOT j.paused
    AND j.next_run_at <= now()
    AND (j.lease_until IS NULL OR j.lease_until <= now())
ORDER BY j.next_run_at;
