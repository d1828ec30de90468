-- seals/list_late: transactions at or below the watermark that have no leaf (LT6).
-- why: a clock that steps back lets a row appear behind it. Looked for in a stretch before the
--   watermark, not in the whole book; replay-ledger finds what is older.
-- params: tenant_id text, after_at text, until_at text, row_limit bigint
-- kind: read | returns: many
WITH late AS MATERIALIZED (
    SELECT t.id
    FROM ledger_transactions AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND t.posted_at > :'after_at'::text::timestamptz
        AND t.posted_at <= :'until_at'::text::timestamptz
        AND NOT EXISTS (
            SELECT FROM ledger_leaves AS s
            WHERE s.tenant_id = :'tenant_id'::text AND s.tx_id = t.id
        )
    ORDER BY t.posted_at, t.id
    LIMIT :'row_limit'::bigint
)
SELECT
    t.id, t.posted_at,
    sha256('\x00'::bytea || convert_to(ledger_leaf(t, l.legs), 'UTF8')) AS hash
FROM late AS k
INNER JOIN ledger_transactions AS t ON t.tenant_id = :'tenant_id'::text AND k.id = t.id
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
ORDER BY t.posted_at, t.id;
