-- seals/list_unsealed: the next transactions after the watermark, in the order of their leaves.
-- why: whole moments only: where the rows end, others of the same moment come too, so that all up
--   to the last time are there. The leaf is hashed here: what comes out is 32 bytes a row.
-- params: tenant_id text, after_at text, until_at text, row_limit bigint
-- kind: read | returns: many
WITH last AS (
    SELECT t.posted_at
    FROM ledger_transactions AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND t.posted_at > :'after_at'::text::timestamptz
        AND t.posted_at <= :'until_at'::text::timestamptz
    ORDER BY t.posted_at, t.id
    LIMIT 1
    OFFSET (:'row_limit'::bigint - 1)
)
SELECT
    t.id, t.posted_at,
    sha256('\x00'::bytea || convert_to(ledger_leaf(t, l.legs), 'UTF8')) AS hash
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
WHERE
    t.tenant_id = :'tenant_id'::text
    AND t.posted_at > :'after_at'::text::timestamptz
    AND t.posted_at
    <= coalesce((SELECT e.posted_at FROM last AS e), :'until_at'::text::timestamptz)
ORDER BY t.posted_at, t.id;
