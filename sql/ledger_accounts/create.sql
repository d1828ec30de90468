-- ledger_accounts/create: open an account, with a balance row for each of its stripes.
-- why: an account that is there, an owner or a currency that is not, give no row; explain_create
--   says which.
-- params: tenant_id text, code text, currency text, name text?, normal_side smallint, stripes smallint, floor text?, ceiling text?, owner_user_id text?, metadata text
-- kind: write | returns: 0..1 | locks: none: only new rows
WITH made AS (
    INSERT INTO ledger_accounts (
        tenant_id, code, currency, name, normal_side, stripes, owner_user_id, metadata
    )
    SELECT
        :'tenant_id'::text, :'code'::text, c.code, :'name'::text, :'normal_side'::smallint,
        :'stripes'::smallint, :'owner_user_id'::text::uuid, :'metadata'::text::jsonb
    FROM currencies AS c
    WHERE
        c.code = :'currency'::text::char(3) AND c.exponent IS NOT NULL AND c.withdrawn_on IS NULL
        AND (
            :'owner_user_id'::text IS NULL
            OR EXISTS (
                SELECT FROM users AS u
                WHERE
                    u.tenant_id = :'tenant_id'::text AND u.id = :'owner_user_id'::text::uuid
                    AND u.status = 'active'
            )
        )
    ON CONFLICT (tenant_id, code, currency) DO NOTHING
    RETURNING account_id, currency, normal_side, stripes, version
),
-- The first stripe carries the floor, the others 0: each keeps its own, so the sum keeps it (LS2).
opened AS (
    INSERT INTO ledger_balances (
        tenant_id, account_id, stripe, currency, normal_side, floor, ceiling
    )
    SELECT
        :'tenant_id'::text, m.account_id, s.stripe, m.currency, m.normal_side,
        CASE WHEN s.stripe = 0 OR :'floor'::text IS NULL THEN :'floor'::text::bigint ELSE 0 END,
        :'ceiling'::text::bigint
    FROM made AS m
    CROSS JOIN LATERAL generate_series(0, m.stripes - 1) AS s (stripe)
)
SELECT m.version FROM made AS m;
