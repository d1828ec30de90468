-- drift_runs/finish: what a comparison has found, with its items.
-- why: hashes and names of columns, never values; at most 10,000 items (V6).
-- params: tenant_id text, run_id uuid, status text, counts jsonb, items jsonb, truncated boolean,
--   error text?
-- kind: write | returns: count | locks: drift_runs row
WITH finished AS (
    UPDATE drift_runs AS d
    SET
        status = :'status'::text, finished_at = now(), truncated = :'truncated'::boolean,
        error = :'error'::text,
        rows_truth = (:'counts'::jsonb ->> 'rows_truth')::bigint,
        rows_follower = (:'counts'::jsonb ->> 'rows_follower')::bigint,
        missing_in_new = (:'counts'::jsonb ->> 'missing_in_new')::bigint,
        missing_in_legacy = (:'counts'::jsonb ->> 'missing_in_legacy')::bigint,
        different = (:'counts'::jsonb ->> 'different')::bigint,
        unsettled = (:'counts'::jsonb ->> 'unsettled')::bigint,
        in_flight = (:'counts'::jsonb ->> 'in_flight')::bigint,
        repaired = (:'counts'::jsonb ->> 'repaired')::bigint
    WHERE d.tenant_id = :'tenant_id'::text AND d.run_id = :'run_id'::uuid
    RETURNING d.run_id
)

INSERT INTO drift_items (
    tenant_id, run_id, entity_id, kind, columns, truth_version, follower_version, repaired_at
)
SELECT
    :'tenant_id'::text, f.run_id, i.entity_id, i.kind,
    array(SELECT jsonb_array_elements_text(i.columns)), i.truth_version, i.follower_version,
    CASE WHEN i.repaired THEN now() END
FROM finished AS f
CROSS JOIN jsonb_to_recordset(:'items'::jsonb) AS i (
    entity_id text, kind text, columns jsonb, truth_version bigint, follower_version bigint,
    repaired boolean
);
