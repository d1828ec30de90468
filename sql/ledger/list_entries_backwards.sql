-- ledger/list_entries_backwards: a page of an account's statement, newest first.
-- why: as ledger/list_entries, with the running total going down from the balances at the page's
--   newer end. The direction is the order of an index scan, so it is no parameter.
-- params: tenant_id text, code text, currency text?, owner_id text?, side bigint, start_at text, start_version bigint, start_stripe bigint, end_at text, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
WITH accounts AS (
    SELECT
        a.account_id, a.currency, a.normal_side, a.stripes, count(*) OVER () AS matches,
        CASE :'side'::bigint
            WHEN 0 THEN :'row_limit'::bigint
            ELSE greatest(:'row_limit'::bigint, :'scan_rows'::bigint / a.stripes)
        END AS rows_max
    FROM ledger_accounts AS a
    WHERE
        a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
        AND a.currency = coalesce(:'currency'::text, a.currency)
        AND (:'owner_id'::text IS NULL OR a.owner_user_id = :'owner_id'::text::uuid)
    ORDER BY a.currency
    LIMIT 2
),
-- Before (time, version, stripe) is what is before (time, version), and what equals it in an
-- earlier stripe.
starts AS (
    SELECT
        a.account_id, a.normal_side, a.rows_max, n.stripe,
        :'start_version'::bigint + (n.stripe < :'start_stripe'::bigint)::integer AS version
    FROM accounts AS a
    CROSS JOIN LATERAL generate_series(0, a.stripes - 1) AS n (stripe)
    WHERE a.matches = 1
),
closing AS (
    SELECT coalesce(sum(e.balance_after), 0)::bigint AS balance
    FROM starts AS s
    CROSS JOIN LATERAL (
        SELECT l.balance_after
        FROM ledger_entries AS l
        WHERE
            l.tenant_id = :'tenant_id'::text AND l.account_id = s.account_id
            AND l.stripe = s.stripe
            AND (l.posted_at, l.version) < (:'start_at'::text::timestamptz, s.version)
        ORDER BY l.posted_at DESC, l.version DESC
        LIMIT 1
    ) AS e
),
stretch AS (
    SELECT
        e.posted_at, e.effective_at, e.version, s.stripe, e.tx_id, e.leg, e.side, e.posted,
        e.pending, s.normal_side * e.side * e.posted AS moved, s.rows_max
    FROM starts AS s
    CROSS JOIN LATERAL (
        SELECT
            l.posted_at, l.effective_at, l.version, l.tx_id, l.leg, l.side, l.posted, l.pending
        FROM ledger_entries AS l
        WHERE
            l.tenant_id = :'tenant_id'::text AND l.account_id = s.account_id
            AND l.stripe = s.stripe
            AND (l.posted_at, l.version) < (:'start_at'::text::timestamptz, s.version)
            AND l.posted_at >= :'end_at'::text::timestamptz
        ORDER BY l.posted_at DESC, l.version DESC
        LIMIT s.rows_max
    ) AS e
    ORDER BY e.posted_at DESC, e.version DESC, s.stripe DESC
    LIMIT (SELECT a.rows_max FROM accounts AS a WHERE a.matches = 1)
),
summed AS (
    SELECT
        r.posted_at, r.effective_at, r.version, r.stripe, r.tx_id, r.leg, r.side, r.posted,
        r.pending, r.moved, row_number() OVER w = r.rows_max AS is_edge,
        (o.balance - sum(r.moved) OVER w + r.moved)::bigint AS balance_after
    FROM stretch AS r
    CROSS JOIN closing AS o
    WINDOW w AS (ORDER BY r.posted_at DESC, r.version DESC, r.stripe DESC)
),
page AS (
    SELECT
        s.posted_at, s.effective_at, s.version, s.stripe, s.tx_id, s.leg, s.side, s.posted,
        s.pending, s.balance_after, s.balance_after - s.moved AS balance_before, s.is_edge,
        :'side'::bigint IN (0, s.side) AS is_shown
    FROM summed AS s
    WHERE :'side'::bigint IN (0, s.side) OR s.is_edge
    ORDER BY s.posted_at DESC, s.version DESC, s.stripe DESC
    LIMIT :'row_limit'::bigint
)
SELECT
    a.matches, a.currency, o.balance AS start_minor,
    coalesce(:'start_at'::text::timestamptz <= w.sealed_through, false) AS final,
    coalesce(p.is_shown, false) AS is_shown, coalesce(p.is_edge, false) AS is_edge,
    p.posted_at, p.effective_at, p.version, p.stripe, p.tx_id, p.leg, t.kind::text AS kind, p.side,
    p.posted AS posted_minor, p.pending AS pending_minor, p.balance_after AS balance_after_minor,
    p.balance_before AS balance_before_minor, c.code AS counterparty, t.reference
FROM accounts AS a
CROSS JOIN closing AS o
LEFT JOIN page AS p ON true
LEFT JOIN ledger_seal_state AS w ON w.tenant_id = :'tenant_id'::text
LEFT JOIN LATERAL (
    SELECT
        h.kind, h.reference,
        CASE p.side WHEN 1 THEN h.debit_accounts[p.leg] ELSE h.credit_accounts[p.leg] END AS other
    FROM ledger_transactions AS h
    WHERE h.tenant_id = :'tenant_id'::text AND h.id = p.tx_id
    LIMIT 1
) AS t ON true
LEFT JOIN LATERAL (
    SELECT n.code
    FROM ledger_accounts AS n
    WHERE n.tenant_id = :'tenant_id'::text AND n.account_id = t.other
    LIMIT 1
) AS c ON true
ORDER BY p.posted_at DESC, p.version DESC, p.stripe DESC;
