-- drift_runs/list_runs: comparisons of a tenant, newest first, by keyset.
-- why: what was compared when, and what came of it.
-- params: tenant_id text, before_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT
    d.run_id, d.domain, d.level, d.phase, d.truth, d.status, d.rows_truth, d.rows_follower,
    d.missing_in_new, d.missing_in_legacy, d.different, d.unsettled, d.in_flight, d.repaired,
    d.truncated, d.trigger, d.run_by, d.started_at, d.finished_at, d.error
FROM drift_runs AS d
WHERE d.tenant_id = :'tenant_id'::text AND d.run_id < :'before_id'::uuid
ORDER BY d.run_id DESC
LIMIT :'row_limit'::bigint;
