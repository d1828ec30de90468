-- ledger/open_accounts: make accounts that a payment's posting needs, those that are missing.
-- why: a house account takes part in every posting, so it gets stripes: 16 writers need not queue.
-- params: tenant_id text, currency text, user_id uuid, codes text[], house_stripes smallint
-- kind: write | returns: count | locks: none: only new rows
WITH opened AS (
    INSERT INTO ledger_accounts (
        tenant_id, code, currency, normal_side, stripes, owner_user_id
    )
    SELECT
        :'tenant_id'::text, c.code, :'currency'::text::char(3),
        CASE WHEN c.code LIKE 'gateways:%' THEN -1 ELSE 1 END,
        CASE WHEN c.code LIKE 'users:%' THEN 1 ELSE :'house_stripes'::smallint END,
        CASE WHEN c.code LIKE 'users:%' THEN :'user_id'::uuid END
    FROM unnest(:'codes'::text[]) AS c (code)
    ON CONFLICT (tenant_id, code, currency) DO NOTHING
    RETURNING account_id, currency, normal_side, stripes, owner_user_id
)
INSERT INTO ledger_balances (tenant_id, account_id, stripe, currency, normal_side, floor)
SELECT
    :'tenant_id'::text, o.account_id, s.stripe, o.currency, o.normal_side,
    CASE WHEN o.owner_user_id IS NOT NULL THEN 0 END
FROM opened AS o
CROSS JOIN LATERAL generate_series(0, o.stripes - 1) AS s (stripe);
