-- shadows/note: a row that differed in both looks of a shadow read: which columns, and two hashes.
-- why: an operator looks at the row by its id; no value of it is kept.
-- params: tenant_id text, domain text, entity_id text, columns text[], truth_hash bytea,
--   follower_hash bytea?
-- kind: write | returns: count | locks: shadow_mismatches row
INSERT INTO shadow_mismatches (tenant_id, domain, entity_id, columns, truth_hash, follower_hash)
VALUES (
    :'tenant_id'::text, :'domain'::text, :'entity_id'::text, :'columns'::text[],
    :'truth_hash'::bytea, :'follower_hash'::bytea
)
ON CONFLICT (tenant_id, domain, entity_id) DO UPDATE
SET
    columns = excluded.columns,
    truth_hash = excluded.truth_hash,
    follower_hash = excluded.follower_hash,
    seen_at = now();
