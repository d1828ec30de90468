-- ledger/list_balances: balances at a moment, summed by codes that are cut at a depth; with totals.
-- why: the last entry of each stripe says it, so now and then are one statement, and all rows of a
--   page are of one moment. `totals` is of everything asked for, on every page: per currency all
--   debit balances and all credit balances, which are equal in a whole book.
-- params: tenant_id text, code_from text, code_to text, currency text?, depth bigint, as_of text, after_code text, after_currency text, row_limit bigint
-- kind: read | returns: many | scan: tenant
WITH accounts AS MATERIALIZED (
    SELECT
        array_to_string((string_to_array(a.code, ':'))[:(:'depth'::bigint)], ':')
            COLLATE "C" AS code,  -- noqa: RF02
        a.currency, a.normal_side * coalesce(s.posted, 0) AS net
    FROM ledger_accounts AS a
    CROSS JOIN LATERAL (
        SELECT sum(e.balance_after) AS posted
        FROM generate_series(0, a.stripes - 1) AS n (stripe)
        CROSS JOIN LATERAL (
            SELECT x.balance_after
            FROM ledger_entries AS x
            WHERE
                x.tenant_id = :'tenant_id'::text AND x.account_id = a.account_id
                AND x.stripe = n.stripe AND x.posted_at <= :'as_of'::text::timestamptz
            ORDER BY x.posted_at DESC, x.version DESC
            LIMIT 1
        ) AS e
    ) AS s
    WHERE
        a.tenant_id = :'tenant_id'::text
        AND a.code >= :'code_from'::text AND a.code < :'code_to'::text
        AND a.currency = coalesce(:'currency'::text, a.currency)
),
sums AS MATERIALIZED (
    SELECT c.code, c.currency, count(*) AS accounts, sum(c.net) AS net
    FROM accounts AS c
    GROUP BY c.code, c.currency
)
SELECT
    coalesce((
        SELECT
            jsonb_agg(jsonb_build_object(
                'currency', t.currency, 'debit_minor', t.debit, 'credit_minor', t.credit
            ) ORDER BY t.currency)
        FROM (
            SELECT
                s.currency, -coalesce(sum(s.net) FILTER (WHERE s.net < 0), 0) AS debit,
                coalesce(sum(s.net) FILTER (WHERE s.net > 0), 0) AS credit
            FROM sums AS s
            GROUP BY s.currency
        ) AS t
    ), '[]') AS totals,
    coalesce(:'as_of'::text::timestamptz <= w.sealed_through, false) AS final,
    p.code, p.currency::text AS currency, p.accounts, p.net::bigint AS net_minor
FROM (SELECT 1 AS one) AS o  -- noqa: ST11
LEFT JOIN ledger_seal_state AS w ON w.tenant_id = :'tenant_id'::text
LEFT JOIN LATERAL (
    SELECT s.code, s.currency, s.accounts, s.net
    FROM sums AS s
    WHERE (s.code, s.currency) > (:'after_code'::text, :'after_currency'::text::char(3))
    ORDER BY s.code, s.currency
    LIMIT :'row_limit'::bigint
) AS p ON true
ORDER BY p.code, p.currency;
