-- legacy_id_pool/give: ids for rows that new has made; none is given twice.
-- why: in the transaction that writes them into their rows. Those of another transaction are skipped.
--   Materialized: a subquery that locks is evaluated again for each row that it is joined with.
-- params: tenant_id text, domain text, wanted bigint
-- kind: write | returns: many | locks: legacy_id_pool rows
WITH free AS MATERIALIZED (
    SELECT i.legacy_id
    FROM legacy_id_pool AS i
    WHERE
        i.tenant_id = :'tenant_id'::text AND i.domain = :'domain'::text AND i.taken_at IS NULL
    ORDER BY length(i.legacy_id), i.legacy_id
    LIMIT :'wanted'::bigint
    FOR UPDATE SKIP LOCKED
)

UPDATE legacy_id_pool AS i
SET taken_at = now()
FROM free AS f
WHERE
    i.tenant_id = :'tenant_id'::text AND i.domain = :'domain'::text AND i.legacy_id = f.legacy_id
RETURNING i.legacy_id;
