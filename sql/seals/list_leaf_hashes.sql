-- seals/list_leaf_hashes: the hashes of some leaves, made anew from their transactions.
-- why: the leaves after the last full tile are stored nowhere as hashes: no row is ever rewritten.
-- params: tenant_id text, first_idx bigint, end_idx bigint
-- kind: read | returns: many
SELECT sha256('\x00'::bytea || convert_to(ledger_leaf(t, l.legs), 'UTF8')) AS hash
FROM ledger_leaves AS s
INNER JOIN ledger_transactions AS t ON t.tenant_id = :'tenant_id'::text AND s.tx_id = t.id
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
) AS l
WHERE
    s.tenant_id = :'tenant_id'::text AND s.idx >= :'first_idx'::bigint
    AND s.idx < :'end_idx'::bigint
ORDER BY s.idx;
