-- checks/ledger_seals: tiles are there when they are full; checkpoints are of the tree (LM2, LM4).
-- why: that hashes are right only replay-ledger can say (L4); that none is missing can be counted.
-- params: none
-- kind: read | returns: many | scan: all
SELECT f.link, f.tenant_id, f.level, f.n
FROM (
    SELECT
        CASE
            WHEN t.n IS NULL THEN 'full tile that is missing'
            WHEN x.n IS NULL THEN 'tile that is not full'
            ELSE 'tile of another size'
        END AS link,
        coalesce(x.tenant_id, t.tenant_id) AS tenant_id, coalesce(x.level, t.level) AS level,
        coalesce(x.n, t.n) AS n
    FROM (
        SELECT k.tenant_id, l.level, i.n
        FROM ledger_seal_state AS k
        CROSS JOIN generate_series(0, 6) AS l (level)
        CROSS JOIN LATERAL generate_series(0, (k.tree_size >> (8 * l.level + 8)) - 1) AS i (n)
    ) AS x
    FULL JOIN ledger_tiles AS t ON x.tenant_id = t.tenant_id AND x.level = t.level AND x.n = t.n
    WHERE
        x.n IS NULL OR t.n IS NULL
        OR octet_length(t.hashes) <> 8192 OR octet_length(t.root) <> 32
    UNION ALL
    SELECT 'checkpoint beyond the tree' AS link, s.tenant_id, NULL AS level, s.tree_size AS n
    FROM ledger_seals AS s
    INNER JOIN ledger_seal_state AS k ON s.tenant_id = k.tenant_id
    WHERE s.tree_size > k.tree_size OR s.sealed_through > k.sealed_through
    UNION ALL
    SELECT 'checkpoint before an older one' AS link, w.tenant_id, NULL AS level, w.tree_size AS n
    FROM (
        SELECT
            s.tenant_id, s.tree_size, s.sealed_through,
            lag(s.sealed_through) OVER (PARTITION BY s.tenant_id ORDER BY s.tree_size) AS before
        FROM ledger_seals AS s
    ) AS w
    WHERE w.sealed_through < w.before
) AS f
LIMIT 100;
