-- seals/get_state: how far a tenant's book is sealed, and whether there is more to do.
-- why: asked each second for each tenant, so a book in which nothing happens costs one read.
-- params: tenant_id text
-- kind: read | returns: 0..1
SELECT
    now() AS read_at, nullif(s.sealed_through, '-infinity') AS sealed_through, s.tree_size, s.stopped_reason,
    coalesce(extract(EPOCH FROM now() - nullif(s.sealed_through, '-infinity')), 0)::bigint
        AS lag_s,
    exists(
        SELECT FROM ledger_transactions AS t
        WHERE t.tenant_id = :'tenant_id'::text AND t.posted_at > s.sealed_through
    ) AS has_more,
    coalesce(k.tree_size, 0) AS signed_size,
    coalesce(extract(EPOCH FROM now() - k.created_at), 0)::bigint AS signed_ago_s
FROM ledger_seal_state AS s
LEFT JOIN LATERAL (
    SELECT l.tree_size, l.created_at
    FROM ledger_seals AS l
    WHERE l.tenant_id = :'tenant_id'::text AND l.tree_size >= 0
    ORDER BY l.tree_size DESC
    LIMIT 1
) AS k ON true
WHERE s.tenant_id = :'tenant_id'::text;
