-- jobs/register: make known which jobs there are, and how often each runs.
-- why: a new release brings jobs and intervals; what is known already keeps its times and its pause.
-- params: jobs text[], every_ms bigint[]
-- kind: write | returns: count | locks: jobs rows, by name
INSERT INTO jobs AS j (tenant_id, job, every_ms)
SELECT
    '-' AS tenant_id,
    given.job,
    given.every_ms
FROM unnest(:'jobs'::text[], :'every_ms'::bigint[]) AS given (job, every_ms)
ORDER BY given.job
ON CONFLICT (tenant_id, job) DO UPDATE
    SET every_ms = excluded.every_ms
    WHERE j.every_ms <> excluded.every_ms;
