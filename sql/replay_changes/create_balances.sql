-- replay_changes/create_balances: make balance rows that accounts lack; their sums are set after it.
-- why: status and limits follow from the last change of the account, or are those of its other
--   stripes. Where neither tells them, the account is frozen until a person has looked at it.
-- params: tenant_id text
-- kind: write | returns: many | scan: tenant | locks: none: only new rows
WITH missing AS (
    SELECT a.account_id, a.code, a.currency, a.normal_side, n.stripe
    FROM ledger_accounts AS a
    CROSS JOIN LATERAL generate_series(0, a.stripes - 1) AS n (stripe)
    WHERE
        a.tenant_id = :'tenant_id'::text
        AND NOT EXISTS (
            SELECT FROM ledger_balances AS b
            WHERE
                b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
                AND b.stripe = n.stripe
        )
),
changes AS (
    SELECT
        m.account_id,
        (array_agg(t.metadata ->> 'status_after' ORDER BY t.posted_at DESC)
        FILTER (WHERE t.metadata ? 'status_after'))[1] AS status,
        (array_agg(t.metadata ->> 'floor_minor_after' ORDER BY t.posted_at DESC)
        FILTER (WHERE t.metadata ? 'floor_minor_after'))[1] AS floor,
        (array_agg(t.metadata ->> 'ceiling_minor_after' ORDER BY t.posted_at DESC)
        FILTER (WHERE t.metadata ? 'ceiling_minor_after'))[1] AS ceiling
    FROM (SELECT DISTINCT d.account_id, d.code, d.currency FROM missing AS d) AS m
    INNER JOIN ledger_transactions AS t
        ON
            t.tenant_id = :'tenant_id'::text AND t.kind = 'change'
            AND t.metadata ->> 'account' = m.code AND t.metadata ->> 'currency' = m.currency
    GROUP BY m.account_id
)
INSERT INTO ledger_balances AS b (
    tenant_id, account_id, stripe, currency, normal_side, status, floor, ceiling
)
SELECT
    :'tenant_id'::text, m.account_id, m.stripe, m.currency, m.normal_side,
    coalesce(c.status::ledger_account_status, s.status, 'frozen'),
    CASE
        WHEN m.stripe > 0 AND s.account_id IS NOT NULL AND s.floor IS NULL THEN NULL
        WHEN m.stripe > 0 THEN 0
        WHEN c.floor IS NOT NULL THEN nullif(c.floor, 'none')::bigint
        WHEN s.account_id IS NOT NULL AND s.floor IS NULL THEN NULL
        ELSE 0
    END,
    nullif(c.ceiling, 'none')::bigint
FROM missing AS m
LEFT JOIN changes AS c ON m.account_id = c.account_id
LEFT JOIN LATERAL (
    SELECT o.account_id, o.status, o.floor
    FROM ledger_balances AS o
    WHERE o.tenant_id = :'tenant_id'::text AND o.account_id = m.account_id
    ORDER BY o.stripe
    LIMIT 1
) AS s ON true
ON CONFLICT (tenant_id, account_id, stripe) DO NOTHING
RETURNING b.account_id, b.stripe, b.status = 'frozen' AS is_frozen;
