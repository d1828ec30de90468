-- replay/check_range_since: as replay/check_range, of the entries after a moment that is trusted.
-- why: each stripe goes on from its last entry at or before that moment; so balances are compared
--   by their last entry, not by four sums. For `replay-ledger --since-seal`.
-- params: tenant_id text, first_id bigint, last_id bigint, everything boolean, code_from text, code_to text, currency text?, as_of text, since text
-- kind: read | returns: many
WITH picked AS (
    SELECT
        b.account_id, b.stripe, a.code, a.currency, a.normal_side, b.version, b.last_posted_at,
        b.normal_side * (b.credits_posted - b.debits_posted) AS balance
    FROM ledger_balances AS b
    INNER JOIN ledger_accounts AS a
        ON a.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
    WHERE
        b.tenant_id = :'tenant_id'::text
        AND b.account_id BETWEEN :'first_id'::bigint AND :'last_id'::bigint
        AND (
            :'everything'::boolean
            OR (
                a.code >= :'code_from'::text AND a.code < :'code_to'::text
                AND a.currency = coalesce(:'currency'::text, a.currency)
            )
        )
),
walked AS (
    SELECT
        r.account_id, r.stripe, r.posted_at, r.version, r.tx_id, r.leg, r.side, r.posted, r.pending,
        r.balance_after, r.is_new, lag(r.version) OVER s AS version_before,
        lag(r.posted_at) OVER s AS posted_at_before, lag(r.tx_id) OVER s AS tx_id_before,
        lag(r.leg) OVER s AS leg_before, lag(r.balance_after) OVER s AS balance_before
    FROM (
        SELECT
            e.account_id, e.stripe, e.posted_at, e.version, e.tx_id, e.leg, e.side, e.posted,
            e.pending, e.balance_after, true AS is_new
        FROM ledger_entries AS e
        WHERE
            e.tenant_id = :'tenant_id'::text
            AND e.account_id BETWEEN :'first_id'::bigint AND :'last_id'::bigint
            AND e.posted_at > :'since'::text::timestamptz
            AND e.posted_at <= :'as_of'::text::timestamptz
        UNION ALL
        SELECT
            p.account_id, p.stripe, l.posted_at, l.version, l.tx_id, l.leg, l.side, 0 AS posted,
            0 AS pending, l.balance_after, false AS is_new
        FROM picked AS p
        CROSS JOIN LATERAL (
            SELECT e.posted_at, e.version, e.tx_id, e.leg, e.side, e.balance_after
            FROM ledger_entries AS e
            WHERE
                e.tenant_id = :'tenant_id'::text AND e.account_id = p.account_id
                AND e.stripe = p.stripe AND e.posted_at <= :'since'::text::timestamptz
            ORDER BY e.posted_at DESC, e.version DESC
            LIMIT 1
        ) AS l
    ) AS r
    WINDOW s AS (PARTITION BY r.account_id, r.stripe ORDER BY r.posted_at, r.version)
),
added AS (
    SELECT
        w.account_id, w.stripe, count(*) FILTER (WHERE w.is_new) AS entries,
        coalesce(sum(w.side * w.posted), 0) AS posted,
        coalesce(sum(w.side * w.pending), 0) AS pending,
        (array_agg(w.balance_after ORDER BY w.posted_at DESC, w.version DESC))[1] AS balance,
        (array_agg(w.version ORDER BY w.posted_at DESC, w.version DESC))[1] AS version,
        max(w.posted_at) AS last_posted_at,
        count(*) FILTER (
            WHERE
            w.is_new
            AND (
                w.version <> coalesce(w.version_before, 0) + 1
                OR (w.tx_id = w.tx_id_before) <> (w.posted_at = w.posted_at_before)
                OR (w.tx_id = w.tx_id_before AND w.leg <= w.leg_before)
            )
        ) AS misplaced,
        count(*) FILTER (
            WHERE
            w.is_new AND w.balance_after <> coalesce(w.balance_before, 0) + w.side * w.posted
        ) AS off_if_credit,
        count(*) FILTER (
            WHERE
            w.is_new AND w.balance_after <> coalesce(w.balance_before, 0) - w.side * w.posted
        ) AS off_if_debit
    FROM walked AS w
    GROUP BY w.account_id, w.stripe
),
stripes AS (
    SELECT
        coalesce(p.account_id, x.account_id) AS account_id, coalesce(p.stripe, x.stripe) AS stripe,
        p.code, p.currency, coalesce(x.entries, 0) AS entries, coalesce(x.posted, 0) AS posted,
        coalesce(x.pending, 0) AS pending,
        coalesce(x.misplaced, 0)
        + coalesce(CASE p.normal_side WHEN -1 THEN x.off_if_debit ELSE x.off_if_credit END, 0)
            AS misplaced,
        ARRAY[
            coalesce(x.balance, 0)::text, coalesce(x.version, 0)::text,
            coalesce(x.last_posted_at, '-infinity')::text
        ] AS expected,
        ARRAY[p.balance::text, p.version::text, p.last_posted_at::text] AS found
    FROM picked AS p
    FULL JOIN added AS x ON p.account_id = x.account_id AND p.stripe = x.stripe
    WHERE :'everything'::boolean OR p.account_id IS NOT NULL
)
SELECT
    s.account_id, s.stripe, s.code, s.currency::text AS currency, 1 AS accounts, 1 AS stripes,
    s.entries, s.posted::text AS posted, s.pending::text AS pending, s.misplaced, s.expected, s.found
FROM stripes AS s
WHERE s.misplaced > 0 OR (:'as_of'::text = 'infinity' AND s.expected <> s.found)
UNION ALL
SELECT
    NULL AS account_id, NULL AS stripe, NULL AS code, s.currency::text AS currency,
    count(DISTINCT s.account_id) AS accounts, count(*) AS stripes,
    sum(s.entries)::bigint AS entries, sum(s.posted)::text AS posted,
    sum(s.pending)::text AS pending, 0 AS misplaced, NULL AS expected, NULL AS found
FROM stripes AS s
GROUP BY s.currency;
