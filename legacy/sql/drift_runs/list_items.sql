-- drift_runs/list_items: the rows that a comparison found, by legacy id, by keyset.
-- why: which rows and columns to look at; values stay in the stores (V6).
-- params: tenant_id text, run_id uuid, after_id text, row_limit bigint
-- kind: read | returns: many
SELECT
    i.entity_id, i.kind, i.columns, i.truth_version, i.follower_version, i.repaired_at
FROM drift_items AS i
WHERE
    i.tenant_id = :'tenant_id'::text AND i.run_id = :'run_id'::uuid
    AND i.entity_id > :'after_id'::text
ORDER BY i.entity_id
LIMIT :'row_limit'::bigint;
