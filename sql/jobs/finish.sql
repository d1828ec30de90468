-- jobs/finish: record how a run ended, give the lease back, say when the next one is due.
-- why: guarded by the token, so a worker that lost its lease cannot overwrite its successor's run.
-- params: job text, lease_token uuid, outcome text, error text?, rows bigint, failures integer, delay_ms bigint
-- kind: write | returns: count | locks: the job's row
UPDATE jobs AS j
SET
    lease_token = NULL,
    lease_until = NULL,
    finished_at = now(),
    succeeded_at = CASE WHEN :'outcome'::text = 'ok' THEN now() ELSE j.succeeded_at END,
    outcome = :'outcome'::text,
    error = :'error'::text,
    rows = :'rows'::bigint,
    failures = :'failures'::integer,
    next_run_at = now() + interval '1 ms' * :'delay_ms'::bigint
WHERE
    j.tenant_id = '-'
    AND j.job = :'job'::text
    AND j.lease_token = :'lease_token'::uuid;
