-- replay/list_leaves: some leaves one by one, with the hash that each has now (L4).
-- why: only asked of a tile that differs, to name which of its transactions was changed or removed.
-- params: tenant_id text, first_idx bigint, end_idx bigint
-- kind: read | returns: many
SELECT
    s.idx, s.tx_id,
    CASE
        WHEN t.id IS NOT NULL
            THEN sha256('\x00'::bytea || convert_to(ledger_leaf(t, g.legs), 'UTF8'))
    END AS hash
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
ORDER BY s.idx;
