-- checks/ledger_leaves: each transaction up to the watermark is one leaf, in its order (LM3, LT4).
-- why: a place in the tree is for ever, and what is final has one.
-- params: none
-- kind: read | returns: many | scan: all
SELECT l.link, l.tenant_id, l.idx, l.tx_id
FROM (
    SELECT
        CASE
            WHEN w.id IS NULL THEN 'leaf without its transaction'
            WHEN w.posted_at > w.sealed_through THEN 'leaf after the watermark'
            WHEN w.idx <> w.place THEN 'leaves with a gap'
            WHEN w.idx >= w.tree_size THEN 'leaf beyond the tree'
            ELSE 'leaf out of order'
        END AS link,
        w.tenant_id, w.idx, w.tx_id
    FROM (
        SELECT
            s.tenant_id, s.idx, s.tx_id, t.id, t.posted_at, k.sealed_through, k.tree_size, s.late,
            row_number() OVER (PARTITION BY s.tenant_id ORDER BY s.idx) - 1 AS place,
            lag(t.posted_at) OVER n AS posted_at_before, lag(s.tx_id) OVER n AS tx_id_before
        FROM ledger_leaves AS s
        LEFT JOIN ledger_transactions AS t ON s.tenant_id = t.tenant_id AND s.tx_id = t.id
        LEFT JOIN ledger_seal_state AS k ON s.tenant_id = k.tenant_id
        WINDOW n AS (PARTITION BY s.tenant_id, s.late ORDER BY s.idx)
    ) AS w
    WHERE
        (w.posted_at <= w.sealed_through AND w.idx = w.place AND w.idx < w.tree_size) IS NOT TRUE
        OR (NOT w.late AND (w.posted_at, w.tx_id) < (w.posted_at_before, w.tx_id_before))
    UNION ALL
    SELECT 'transaction without its leaf' AS link, t.tenant_id, NULL AS idx, t.id AS tx_id
    FROM ledger_transactions AS t
    INNER JOIN ledger_seal_state AS k
        ON t.tenant_id = k.tenant_id AND t.posted_at <= k.sealed_through
    LEFT JOIN ledger_leaves AS s ON t.tenant_id = s.tenant_id AND t.id = s.tx_id
    WHERE s.idx IS NULL
    UNION ALL
    SELECT 'tree that is not its leaves' AS link, k.tenant_id, k.tree_size AS idx, NULL AS tx_id
    FROM ledger_seal_state AS k
    WHERE
        k.tree_size
        <> (SELECT count(*) FROM ledger_leaves AS s WHERE s.tenant_id = k.tenant_id)
) AS l
LIMIT 100;
