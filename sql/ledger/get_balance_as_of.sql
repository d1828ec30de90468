-- ledger/get_balance_as_of: an account's posted balance at a moment of the past.
-- why: one backward probe of the entries' key per stripe (LT2): the past costs no more than now.
-- params: tenant_id text, code text, currency text?, owner_id text?, as_of text
-- kind: read | returns: many
SELECT
    a.currency, s.posted AS posted_minor, s.version,
    coalesce(:'as_of'::text::timestamptz <= w.sealed_through, false) AS final
FROM ledger_accounts AS a
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(e.balance_after), 0)::bigint AS posted,
        coalesce(sum(e.version), 0)::bigint AS version
    FROM generate_series(0, a.stripes - 1) AS n (stripe)
    CROSS JOIN LATERAL (
        SELECT l.balance_after, l.version
        FROM ledger_entries AS l
        WHERE
            l.tenant_id = :'tenant_id'::text AND l.account_id = a.account_id
            AND l.stripe = n.stripe AND l.posted_at <= :'as_of'::text::timestamptz
        ORDER BY l.posted_at DESC, l.version DESC
        LIMIT 1
    ) AS e
) AS s
LEFT JOIN ledger_seal_state AS w ON w.tenant_id = :'tenant_id'::text
WHERE
    a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
    AND a.currency = coalesce(:'currency'::text, a.currency)
    AND (:'owner_id'::text IS NULL OR a.owner_user_id = :'owner_id'::text::uuid)
ORDER BY a.currency
LIMIT 2;
