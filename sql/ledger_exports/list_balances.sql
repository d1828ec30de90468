-- ledger_exports/list_balances: balances at a moment as lines of JSON, by code.
-- why: the last entry before it says what was posted, stripe by stripe.
-- params: tenant_id text, posted_lt text
-- kind: read | returns: many | scan: tenant
SELECT
    json_build_object(
        'code', a.code, 'currency', a.currency,
        'posted_minor', coalesce(s.posted, 0), 'version', coalesce(s.version, 0)
    )::text AS line
FROM ledger_accounts AS a
CROSS JOIN LATERAL (
    SELECT sum(e.balance_after)::bigint AS posted, sum(e.version)::bigint AS version
    FROM generate_series(0, a.stripes - 1) AS n (stripe)
    CROSS JOIN LATERAL (
        SELECT x.balance_after, x.version
        FROM ledger_entries AS x
        WHERE
            x.tenant_id = :'tenant_id'::text AND x.account_id = a.account_id
            AND x.stripe = n.stripe AND x.posted_at < :'posted_lt'::text::timestamptz
        ORDER BY x.posted_at DESC, x.version DESC
        LIMIT 1
    ) AS e
) AS s
WHERE a.tenant_id = :'tenant_id'::text
ORDER BY a.code, a.currency;
