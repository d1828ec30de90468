-- drift_runs/get_last: the last comparison of a domain that came to its end.
-- why: status, readiness and metrics show it; one that is under way says nothing yet.
-- params: tenant_id text, domain text
-- kind: read | returns: 0..1
SELECT
    d.run_id, d.domain, d.level, d.phase, d.truth, d.status, d.rows_truth, d.rows_follower,
    d.missing_in_new, d.missing_in_legacy, d.different, d.unsettled, d.in_flight, d.repaired,
    d.truncated, d.trigger, d.run_by, d.started_at, d.finished_at, d.error
FROM drift_runs AS d
WHERE
    d.tenant_id = :'tenant_id'::text AND d.domain = :'domain'::text AND d.status <> 'running'
ORDER BY d.started_at DESC
LIMIT 1;
