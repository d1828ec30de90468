-- replay/list_misplaced: the entries of one stripe that do not follow from the one before (L2).
-- why: only asked about stripes in which replay/check_range has counted some.
-- params: tenant_id text, account_id bigint, stripe bigint, as_of text, since text
-- kind: read | returns: many
SELECT
    w.account_id, w.code, w.currency::text AS currency, w.stripe, w.tx_id, f.field, f.expected, f.found
FROM (
    SELECT
        e.account_id, a.code, a.currency, e.stripe, e.posted_at, e.version, e.tx_id, e.leg,
        e.balance_after,
        coalesce(lag(e.version) OVER s, 0) + 1 AS next_version,
        lag(e.posted_at) OVER s AS posted_at_before, lag(e.leg) OVER s AS leg_before,
        e.tx_id = lag(e.tx_id) OVER s AS is_same,
        coalesce(lag(e.balance_after) OVER s, 0) + a.normal_side * e.side * e.posted AS next_balance
    FROM ledger_entries AS e
    LEFT JOIN ledger_accounts AS a
        ON a.tenant_id = :'tenant_id'::text AND e.account_id = a.account_id
    WHERE
        e.tenant_id = :'tenant_id'::text AND e.account_id = :'account_id'::bigint
        AND e.stripe = :'stripe'::bigint AND e.posted_at <= :'as_of'::text::timestamptz
        -- The last entry of what is trusted is where the rest goes on from.
        AND e.posted_at >= coalesce((
            SELECT l.posted_at
            FROM ledger_entries AS l
            WHERE
                l.tenant_id = :'tenant_id'::text AND l.account_id = :'account_id'::bigint
                AND l.stripe = :'stripe'::bigint
                AND l.posted_at <= :'since'::text::timestamptz
            ORDER BY l.posted_at DESC
            LIMIT 1
        ), '-infinity')
    WINDOW s AS (ORDER BY e.posted_at, e.version)
) AS w
CROSS JOIN LATERAL (
    VALUES
    ('version', w.version <> w.next_version, w.next_version::text, w.version::text),
    (
        'posted_at', w.is_same <> (w.posted_at = w.posted_at_before),
        CASE WHEN w.is_same THEN 'as ' ELSE 'after ' END || w.posted_at_before, w.posted_at::text
    ),
    ('leg', w.is_same AND w.leg <= w.leg_before, 'after ' || w.leg_before, w.leg::text),
    (
        'balance_after', w.balance_after <> w.next_balance, w.next_balance::text,
        w.balance_after::text
    )
) AS f (field, is_fault, expected, found)
WHERE f.is_fault AND w.posted_at > :'since'::text::timestamptz
ORDER BY w.posted_at, w.version;
