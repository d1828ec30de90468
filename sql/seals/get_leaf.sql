-- seals/get_leaf: a transaction as its leaf, and its place in the tree if it has one.
-- why: made from the transaction as it is now; that it is what was sealed is for the proof to show.
-- params: tenant_id text, tx_id uuid, owner_id text?
-- kind: read | returns: 0..1
SELECT ledger_leaf(t, l.legs) AS leaf, s.idx
FROM ledger_transactions AS t
CROSS JOIN LATERAL (
    SELECT
        coalesce(string_agg(
            '["' || dr.code || '","' || cr.code || '","' || dr.currency || '",' || n.amount || ']',
            ',' ORDER BY n.leg
        ), '') AS legs,
        bool_or(
            dr.owner_user_id = :'owner_id'::text::uuid OR cr.owner_user_id = :'owner_id'::text::uuid
        ) AS is_theirs
    FROM unnest(t.debit_accounts, t.credit_accounts, t.amounts)
    WITH ORDINALITY AS n (debit, credit, amount, leg)
    INNER JOIN ledger_accounts AS dr
        ON dr.tenant_id = :'tenant_id'::text AND dr.account_id = n.debit
    INNER JOIN ledger_accounts AS cr
        ON cr.tenant_id = :'tenant_id'::text AND cr.account_id = n.credit
) AS l
LEFT JOIN ledger_leaves AS s ON s.tenant_id = :'tenant_id'::text AND s.tx_id = t.id
WHERE
    t.tenant_id = :'tenant_id'::text AND t.id = :'tx_id'::uuid
    AND (:'owner_id'::text IS NULL OR l.is_theirs);
