-- postings/list_by_account: where the transactions of one account stand in the log, newest first.
-- why: they are found by its entries, from each stripe as many as the page may look at. What moved
--   nothing is not among them: rejected transactions, changes of accounts.
-- params: tenant_id text, code text, currency text?, posted_gte text, wanted text, before_at text, before_id uuid, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
SELECT q.posted_at, q.id, q.is_shown, q.is_edge
FROM (
    SELECT
        s.posted_at, s.id, ledger_matches(t.header, :'wanted'::text::jsonb) AS is_shown,
        row_number() OVER (ORDER BY s.posted_at DESC, s.id DESC) = :'scan_rows'::bigint AS is_edge
    FROM (
        SELECT DISTINCT e.posted_at, e.tx_id AS id
        FROM ledger_accounts AS a
        CROSS JOIN LATERAL generate_series(0, a.stripes - 1) AS n (stripe)
        CROSS JOIN LATERAL (
            SELECT l.posted_at, l.tx_id
            FROM ledger_entries AS l
            WHERE
                l.tenant_id = :'tenant_id'::text AND l.account_id = a.account_id
                AND l.stripe = n.stripe
                AND l.posted_at >= :'posted_gte'::text::timestamptz
                AND l.posted_at <= :'before_at'::text::timestamptz
                AND (l.posted_at, l.tx_id) < (:'before_at'::text::timestamptz, :'before_id'::uuid)
            ORDER BY l.posted_at DESC, l.version DESC
            LIMIT :'scan_rows'::bigint
        ) AS e
        WHERE
            a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
            AND a.currency = coalesce(:'currency'::text, a.currency)
        ORDER BY e.posted_at DESC, e.tx_id DESC
        LIMIT :'scan_rows'::bigint
    ) AS s
    CROSS JOIN LATERAL (
        SELECT x AS header
        FROM ledger_transactions AS x
        WHERE x.tenant_id = :'tenant_id'::text AND x.id = s.id
        LIMIT 1
    ) AS t
) AS q
WHERE q.is_shown OR q.is_edge
ORDER BY q.posted_at DESC, q.id DESC
LIMIT :'row_limit'::bigint;
