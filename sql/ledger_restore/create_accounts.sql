-- ledger_restore/create_accounts: open accounts as an export of them says, with empty balances.
-- why: number, owner and version are taken as they were; what was posted comes with the
--   transactions. The first stripe carries the floor, the others 0 (LS2).
-- params: tenant_id text, accounts jsonb
-- kind: write | returns: count | locks: none: only new rows
WITH given AS MATERIALIZED (
    SELECT
        e.place, n.code, n.currency, n.name, n.normal_side, n.status, n.floor_minor,
        n.ceiling_minor, n.stripes, n.owner_user_id, n.metadata, n.version
    FROM jsonb_array_elements(:'accounts'::jsonb) WITH ORDINALITY AS e (account, place)
    CROSS JOIN LATERAL jsonb_to_record(e.account) AS n (
        code text, currency text, name text, normal_side text, status text, floor_minor bigint,
        ceiling_minor bigint, stripes smallint, owner_user_id uuid, metadata jsonb, version bigint
    )
),
made AS (
    INSERT INTO ledger_accounts AS a (
        tenant_id, code, currency, name, normal_side, stripes, owner_user_id, metadata, version
    )
    SELECT
        :'tenant_id'::text, g.code, g.currency, g.name,
        CASE g.normal_side WHEN 'credit' THEN 1 ELSE -1 END, g.stripes, g.owner_user_id,
        g.metadata, g.version
    FROM given AS g
    ORDER BY g.place
    RETURNING a.account_id, a.code, a.currency, a.normal_side, a.stripes
)
INSERT INTO ledger_balances (
    tenant_id, account_id, stripe, currency, normal_side, status, floor, ceiling
)
SELECT
    :'tenant_id'::text, m.account_id, s.stripe, m.currency, m.normal_side,
    g.status::ledger_account_status,
    CASE WHEN s.stripe = 0 OR g.floor_minor IS NULL THEN g.floor_minor ELSE 0 END,
    g.ceiling_minor
FROM made AS m
INNER JOIN given AS g ON m.code = g.code AND m.currency = g.currency
CROSS JOIN LATERAL generate_series(0, m.stripes - 1) AS s (stripe);
