-- ledger_exports/list_transactions: transactions as lines of JSON, each with the leaf that is hashed.
-- why: what is written is what a proof is about (LX2); in the order of posting, streamed. What
--   follows the leaf is what a restore needs to be the same book.
-- params: tenant_id text, posted_gte text, posted_lt text
-- kind: read | returns: many
SELECT
    '{"leaf":' || ledger_leaf(t, l.legs) || ',"metadata":' || coalesce(t.metadata::text, 'null')
    || ',"index":' || coalesce(s.idx::text, 'null')
    || ',"stripes":' || coalesce(to_json(t.stripes)::text, 'null')
    || ',"request_id":' || to_json(t.request_id)::text || '}' AS line
FROM ledger_transactions AS t
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
LEFT JOIN ledger_leaves AS s ON s.tenant_id = :'tenant_id'::text AND s.tx_id = t.id
WHERE
    t.tenant_id = :'tenant_id'::text AND t.posted_at >= :'posted_gte'::text::timestamptz
    AND t.posted_at < :'posted_lt'::text::timestamptz
ORDER BY t.posted_at, t.id;
