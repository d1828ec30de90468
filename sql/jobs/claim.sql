-- jobs/claim: take a job that is due and free; by hand (`forced`) also one that is not due or paused.
-- why: of many workers that found it due one gets the row; a dead worker's lease has run out.
-- params: job text, forced boolean, lease_token uuid, lease_ms bigint, holder text
-- kind: write | returns: 0..1 | locks: the job's row
UPDATE jobs AS j
SET
    lease_token = :'lease_token'::uuid,
    lease_until = now() + interval '1 ms' * :'lease_ms'::bigint,
    holder = :'holder'::text,
    started_at = now()
WHERE
    j.tenant_id = '-'
    AND j.job = :'job'::text
    AND (:'forced'::boolean OR (NOT j.paused AND j.next_run_at <= now()))
    AND (j.lease_until IS NULL OR j.lease_until <= now())
RETURNING j.failures;
