-- ledger_accounts/get: an account with its balance as it is now.
-- why: as ledger/get_balance: stripes are summed in one statement, two rows at most.
-- params: tenant_id text, code text, currency text?, owner_id text?
-- kind: read | returns: many
SELECT
    a.code, a.currency, a.name, a.normal_side, s.status, s.floor AS floor_minor,
    s.ceiling AS ceiling_minor, a.stripes, a.owner_user_id, a.metadata, a.version, a.created_at,
    a.updated_at, s.posted AS posted_minor,
    s.posted - CASE a.normal_side WHEN 1 THEN s.debits_pending ELSE s.credits_pending END
        AS available_minor,
    s.posted + CASE a.normal_side WHEN 1 THEN s.credits_pending ELSE s.debits_pending END
        AS reachable_minor,
    s.entries
FROM ledger_accounts AS a
CROSS JOIN LATERAL (
    SELECT
        (a.normal_side * sum(b.credits_posted - b.debits_posted))::bigint AS posted,
        sum(b.debits_pending)::bigint AS debits_pending,
        sum(b.credits_pending)::bigint AS credits_pending, sum(b.version)::bigint AS entries,
        sum(b.floor)::bigint AS floor, max(b.ceiling) AS ceiling, min(b.status)::text AS status
    FROM ledger_balances AS b
    WHERE b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
) AS s
WHERE
    a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
    AND a.currency = coalesce(:'currency'::text, a.currency)
    AND (:'owner_id'::text IS NULL OR a.owner_user_id = :'owner_id'::text::uuid)
ORDER BY a.currency
LIMIT 2;
