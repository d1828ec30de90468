-- drift_runs/begin: a comparison begins, one at a time per domain.
-- why: a run that began ten minutes ago is taken for one that a crash has left behind, is noted as
--   failed, and makes way. Two at once do no harm: they read, and mark keys.
-- params: tenant_id text, run_id uuid, domain text, level smallint, phase smallint, truth text,
--   trigger text, run_by text
-- kind: write | returns: count | locks: drift_runs rows
WITH failed AS (
    UPDATE drift_runs AS d
    SET status = 'failed', finished_at = now(), error = 'it did not end'
    WHERE
        d.tenant_id = :'tenant_id'::text AND d.domain = :'domain'::text AND d.status = 'running'
        AND d.started_at < now() - interval '10 minutes'
)

INSERT INTO drift_runs (tenant_id, run_id, domain, level, phase, truth, trigger, run_by)
SELECT
    :'tenant_id'::text, :'run_id'::uuid, :'domain'::text, :'level'::smallint,
    :'phase'::smallint, :'truth'::text, :'trigger'::text, :'run_by'::text
WHERE NOT EXISTS (
    SELECT FROM drift_runs AS d
    WHERE
        d.tenant_id = :'tenant_id'::text AND d.domain = :'domain'::text AND d.status = 'running'
        AND d.started_at >= now() - interval '10 minutes'
);
