-- ledger/get_balance_effective: an account's balance at a moment, counted by what counts since when.
-- why: nothing is dated ahead, so it is the balance as of then and what was posted later with an
--   earlier date (LT3). `known_at` leaves out what the book learnt after it.
-- params: tenant_id text, code text, currency text?, owner_id text?, effective_at text, known_at text
-- kind: read | returns: many
SELECT
    a.currency, (s.posted + l.posted)::bigint AS posted_minor,
    (s.version + l.entries)::bigint AS version,
    coalesce(:'known_at'::text::timestamptz <= w.sealed_through, false) AS final
FROM ledger_accounts AS a
CROSS JOIN LATERAL (
    SELECT coalesce(sum(e.balance_after), 0) AS posted, coalesce(sum(e.version), 0) AS version
    FROM generate_series(0, a.stripes - 1) AS n (stripe)
    CROSS JOIN LATERAL (
        SELECT x.balance_after, x.version
        FROM ledger_entries AS x
        WHERE
            x.tenant_id = :'tenant_id'::text AND x.account_id = a.account_id
            AND x.stripe = n.stripe
            AND x.posted_at
            <= least(:'effective_at'::text::timestamptz, :'known_at'::text::timestamptz)
        ORDER BY x.posted_at DESC, x.version DESC
        LIMIT 1
    ) AS e
) AS s
CROSS JOIN LATERAL (
    SELECT coalesce(sum(a.normal_side * e.side * e.posted), 0) AS posted, count(*) AS entries
    FROM ledger_entries AS e
    WHERE
        e.tenant_id = :'tenant_id'::text AND e.account_id = a.account_id
        AND e.effective_at <> e.posted_at
        AND e.posted_at > :'effective_at'::text::timestamptz
        AND e.posted_at <= :'known_at'::text::timestamptz
        AND e.effective_at <= :'effective_at'::text::timestamptz
) AS l
LEFT JOIN ledger_seal_state AS w ON w.tenant_id = :'tenant_id'::text
WHERE
    a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
    AND a.currency = coalesce(:'currency'::text, a.currency)
    AND (:'owner_id'::text IS NULL OR a.owner_user_id = :'owner_id'::text::uuid)
ORDER BY a.currency
LIMIT 2;
