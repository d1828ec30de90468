-- replay/check_range: walk the entries of some accounts in key order, and add them up.
-- why: one pass for three levels: the sums of each currency (rows without an account: L0), how
--   many entries do not follow from the one before (L2), and balances that are not their sums (L3).
--   What is in order gives no row. Balances are stored for now only: not compared with an `as_of`.
-- params: tenant_id text, first_id bigint, last_id bigint, everything boolean, code_from text, code_to text, currency text?, as_of text
-- kind: read | returns: many
WITH walked AS (
    SELECT
        e.account_id, e.stripe, e.posted_at, e.version, e.tx_id, e.leg, e.side, e.posted, e.pending,
        e.balance_after, lag(e.version) OVER s AS version_before,
        lag(e.posted_at) OVER s AS posted_at_before, lag(e.tx_id) OVER s AS tx_id_before,
        lag(e.leg) OVER s AS leg_before, lag(e.balance_after) OVER s AS balance_before
    FROM ledger_entries AS e
    WHERE
        e.tenant_id = :'tenant_id'::text
        AND e.account_id BETWEEN :'first_id'::bigint AND :'last_id'::bigint
        AND e.posted_at <= :'as_of'::text::timestamptz
    WINDOW s AS (PARTITION BY e.account_id, e.stripe ORDER BY e.posted_at, e.version)
),
-- Which side is normal is looked up per account, not per entry: so both are counted.
added AS (
    SELECT
        w.account_id, w.stripe, count(*) AS entries, max(w.posted_at) AS last_posted_at,
        coalesce(sum(w.posted) FILTER (WHERE w.side = -1), 0) AS debits_posted,
        coalesce(sum(w.posted) FILTER (WHERE w.side = 1), 0) AS credits_posted,
        coalesce(sum(w.pending) FILTER (WHERE w.side = -1), 0) AS debits_pending,
        coalesce(sum(w.pending) FILTER (WHERE w.side = 1), 0) AS credits_pending,
        count(*) FILTER (
            WHERE
            w.version <> coalesce(w.version_before, 0) + 1
            OR (w.tx_id = w.tx_id_before) <> (w.posted_at = w.posted_at_before)
            OR (w.tx_id = w.tx_id_before AND w.leg <= w.leg_before)
        ) AS misplaced,
        count(*) FILTER (
            WHERE w.balance_after <> coalesce(w.balance_before, 0) + w.side * w.posted
        ) AS off_if_credit,
        count(*) FILTER (
            WHERE w.balance_after <> coalesce(w.balance_before, 0) - w.side * w.posted
        ) AS off_if_debit
    FROM walked AS w
    GROUP BY w.account_id, w.stripe
),
stored AS (
    SELECT
        b.account_id, b.stripe, b.debits_posted, b.credits_posted, b.debits_pending,
        b.credits_pending, b.version, b.last_posted_at
    FROM ledger_balances AS b
    WHERE
        b.tenant_id = :'tenant_id'::text
        AND b.account_id BETWEEN :'first_id'::bigint AND :'last_id'::bigint
),
stripes AS (
    SELECT
        n.account_id, n.stripe, a.code, a.currency, coalesce(x.entries, 0) AS entries,
        coalesce(x.credits_posted - x.debits_posted, 0) AS posted,
        coalesce(x.credits_pending - x.debits_pending, 0) AS pending,
        coalesce(x.misplaced, 0) AS misplaced,
        coalesce(CASE a.normal_side WHEN -1 THEN x.off_if_debit ELSE x.off_if_credit END, 0) AS off,
        ARRAY[
            coalesce(x.debits_posted, 0)::text, coalesce(x.credits_posted, 0)::text,
            coalesce(x.debits_pending, 0)::text, coalesce(x.credits_pending, 0)::text,
            coalesce(x.entries, 0)::text, coalesce(x.last_posted_at, '-infinity')::text
        ] AS expected,
        ARRAY[
            b.debits_posted::text, b.credits_posted::text, b.debits_pending::text,
            b.credits_pending::text, b.version::text, b.last_posted_at::text
        ] AS found
    FROM stored AS b
    FULL JOIN added AS x ON b.account_id = x.account_id AND b.stripe = x.stripe
    CROSS JOIN LATERAL (
        SELECT
            coalesce(b.account_id, x.account_id) AS account_id,
            coalesce(b.stripe, x.stripe) AS stripe
    ) AS n
    LEFT JOIN ledger_accounts AS a
        ON
            a.tenant_id = :'tenant_id'::text AND n.account_id = a.account_id
            AND a.account_id BETWEEN :'first_id'::bigint AND :'last_id'::bigint
    WHERE
        :'everything'::boolean
        OR (
            a.code >= :'code_from'::text AND a.code < :'code_to'::text
            AND a.currency = coalesce(:'currency'::text, a.currency)
        )
)
SELECT
    s.account_id, s.stripe, s.code, s.currency::text AS currency, 1 AS accounts, 1 AS stripes,
    s.entries, s.posted::text AS posted, s.pending::text AS pending,
    s.misplaced + s.off AS misplaced, s.expected, s.found
FROM stripes AS s
WHERE
    s.misplaced > 0 OR s.off > 0
    OR (:'as_of'::text = 'infinity' AND s.expected <> s.found)
UNION ALL
SELECT
    NULL AS account_id, NULL AS stripe, NULL AS code, s.currency::text AS currency,
    count(DISTINCT s.account_id) AS accounts, count(*) AS stripes,
    sum(s.entries)::bigint AS entries, sum(s.posted)::text AS posted,
    sum(s.pending)::text AS pending, 0 AS misplaced, NULL AS expected, NULL AS found
FROM stripes AS s
GROUP BY s.currency;
