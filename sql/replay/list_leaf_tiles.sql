-- replay/list_leaf_tiles: some tiles of leaves, hashed anew from their transactions (L4).
-- why: 256 leaves a row: what is right costs one comparison. `dense` is false where places are
--   missing; a leaf without its transaction counts as 32 zero bytes.
-- params: tenant_id text, first_idx bigint, end_idx bigint
-- kind: read | returns: many
SELECT
    l.n, l.leaves, l.is_dense, l.hashes, k.hashes AS stored_hashes, k.root AS stored_root
FROM (
    SELECT
        s.idx / 256 AS n, count(*) AS leaves,
        max(s.idx) = s.idx / 256 * 256 + count(*) - 1 AS is_dense,
        string_agg(
            coalesce(
                sha256('\x00'::bytea || convert_to(ledger_leaf(t, g.legs), 'UTF8')),
                decode(repeat('00', 32), 'hex')
            ), '\x'::bytea ORDER BY s.idx
        ) AS hashes  -- noqa: PRS
    FROM ledger_leaves AS s
    LEFT JOIN ledger_transactions AS t ON t.tenant_id = :'tenant_id'::text AND s.tx_id = t.id
    CROSS JOIN LATERAL (
        SELECT
            coalesce(string_agg(
                '["' || dr.code || '","' || cr.code || '","' || dr.currency || '",' || n.amount || ']',
                ',' ORDER BY n.leg
            ), '') AS legs
        FROM unnest(t.debit_accounts, t.credit_accounts, t.amounts)
        WITH ORDINALITY AS n (debit, credit, amount, leg)
        INNER JOIN ledger_accounts AS dr
            ON dr.tenant_id = :'tenant_id'::text AND dr.account_id = n.debit
        INNER JOIN ledger_accounts AS cr
            ON cr.tenant_id = :'tenant_id'::text AND cr.account_id = n.credit
    ) AS g
    WHERE
        s.tenant_id = :'tenant_id'::text AND s.idx >= :'first_idx'::bigint
        AND s.idx < :'end_idx'::bigint
    GROUP BY s.idx / 256
) AS l
LEFT JOIN ledger_tiles AS k
    ON k.tenant_id = :'tenant_id'::text AND k.level = 0 AND l.n = k.n
ORDER BY l.n;
