-- ledger/get_balance: an account's balance as it is now.
-- why: the rows of a hot account are summed in one statement, so the sum is of one moment (LS4).
--   Two rows at most: a code that has several currencies is answered by asking for one.
-- params: tenant_id text, code text, currency text?, owner_id text?
-- kind: read | returns: many
SELECT
    a.currency, s.posted AS posted_minor,
    s.posted - CASE a.normal_side WHEN 1 THEN s.debits_pending ELSE s.credits_pending END
        AS available_minor,
    s.posted + CASE a.normal_side WHEN 1 THEN s.credits_pending ELSE s.debits_pending END
        AS reachable_minor,
    s.debits_posted AS debits_posted_minor, s.credits_posted AS credits_posted_minor,
    s.debits_pending AS debits_pending_minor, s.credits_pending AS credits_pending_minor,
    s.version, greatest(now(), s.last_posted_at) AS as_of
FROM ledger_accounts AS a
CROSS JOIN LATERAL (
    SELECT
        (a.normal_side * sum(b.credits_posted - b.debits_posted))::bigint AS posted,
        sum(b.debits_posted)::bigint AS debits_posted,
        sum(b.credits_posted)::bigint AS credits_posted,
        sum(b.debits_pending)::bigint AS debits_pending,
        sum(b.credits_pending)::bigint AS credits_pending,
        sum(b.version)::bigint AS version, max(b.last_posted_at) AS last_posted_at
    FROM ledger_balances AS b
    WHERE b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
) AS s
WHERE
    a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
    AND a.currency = coalesce(:'currency'::text, a.currency)
    AND (:'owner_id'::text IS NULL OR a.owner_user_id = :'owner_id'::text::uuid)
ORDER BY a.currency
LIMIT 2;
