-- jobs/list_all: every job with its last run, by name.
-- why: late means three intervals without a success, or three failures in a row (OH1).
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    j.tenant_id,
    j.job,
    j.every_ms,
    j.next_run_at,
    j.paused,
    CASE WHEN j.lease_until > now() THEN j.holder END AS holder,
    j.started_at,
    j.finished_at,
    j.succeeded_at,
    j.outcome,
    j.error,
    j.rows,
    j.failures,
    NOT j.paused AND (
        j.failures >= 3
        OR coalesce(j.succeeded_at + interval '1 ms' * j.every_ms, j.next_run_at)
        < now() - interval '3 ms' * j.every_ms
    ) AS late
FROM jobs AS j
ORDER BY j.tenant_id, j.job;
