-- drift_runs/get: one comparison.
-- why: asked for by its id, from a list or a command's answer.
-- params: tenant_id text, run_id uuid
-- kind: read | returns: 0..1
SELECT
    d.run_id, d.domain, d.level, d.phase, d.truth, d.status, d.rows_truth, d.rows_follower,
    d.missing_in_new, d.missing_in_legacy, d.different, d.unsettled, d.in_flight, d.repaired,
    d.truncated, d.trigger, d.run_by, d.started_at, d.finished_at, d.error
FROM drift_runs AS d
WHERE d.tenant_id = :'tenant_id'::text AND d.run_id = :'run_id'::uuid;
