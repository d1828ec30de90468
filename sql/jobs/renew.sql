-- jobs/renew: keep the lease for another while; no row: somebody else has taken the job.
-- why: a worker that was stopped for longer than its lease must not go on beside its successor.
-- params: job text, lease_token uuid, lease_ms bigint
-- kind: write | returns: count | locks: the job's row
UPDATE jobs AS j
SET lease_until = now() + interval '1 ms' * :'lease_ms'::bigint
WHERE
    j.tenant_id = '-'
    AND j.job = :'job'::text
    AND j.lease_token = :'lease_token'::uuid;
