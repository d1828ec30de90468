-- payments/post_event: post the first event of a payment that the ledger does not know yet (P34).
-- why: an event a commit, in their order; the last one takes the mark away. forced: it has happened.
--   a payment that changed after the statement began is left alone: its events would not be all.
-- params: tenant_id text, payment_id uuid, transaction_id uuid, stripe integer, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row, skipping a locked one, ledger_balances by (account_id, stripe)
-- present: missing is_posted
WITH target AS (
    SELECT p.id, p.user_id, p.currency, p.gateway, p.version
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid AND p.unposted
    FOR NO KEY UPDATE SKIP LOCKED
),
steps AS (
    SELECT
        e.seq, e.type, e.amount_minor,
        (e.after ->> 'fee_minor')::bigint + (e.after ->> 'fee_refunded_minor')::bigint
        - coalesce(lag(
            (e.after ->> 'fee_minor')::bigint + (e.after ->> 'fee_refunded_minor')::bigint
        ) OVER (ORDER BY e.seq), 0) AS fee_minor
    FROM payment_events AS e
    WHERE e.tenant_id = :'tenant_id'::text AND e.payment_id = :'payment_id'::uuid
),
unknown AS (
    SELECT s.seq, s.type, s.amount_minor, s.fee_minor
    FROM steps AS s
    WHERE
        s.type IN (
            'payment.captured', 'payment.refunded', 'payment.dispute_opened', 'payment.dispute_won',
            'payment.dispute_lost', 'payment.dispute_reversed'
        )
        AND NOT EXISTS (
            SELECT FROM ledger_transactions AS t
            WHERE
                t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
                AND t.reference = 'payment:' || :'payment_id'::uuid || ':' || s.seq
        )
),
fresh AS (
    SELECT t.id, t.user_id, t.currency, t.gateway, (SELECT count(*) FROM unknown) AS missing
    FROM target AS t
    WHERE t.version = (SELECT max(s.seq) FROM steps AS s)
),
asked AS (
    SELECT
        f.user_id, f.currency, f.gateway, u.seq, u.type, u.amount_minor, u.fee_minor,
        true AS forced
    FROM fresh AS f CROSS JOIN unknown AS u
    ORDER BY u.seq
    LIMIT 1
),
-- Numbered without a gap, as a header's arrays are.
legs AS (
    SELECT
        row_number() OVER (ORDER BY l.place) AS leg, l.debit, l.credit, l.amount
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT
            'users:' || a.user_id || ':available' AS available,
            'users:' || a.user_id || ':disputed' AS disputed,
            'gateways:' || a.gateway || ':clearing' AS clearing, 'platform:fees' AS fees
    ) AS c
    CROSS JOIN LATERAL (
        VALUES
        ('payment.captured', 1, c.clearing, c.fees, a.fee_minor),
        ('payment.captured', 2, c.clearing, c.available, a.amount_minor - a.fee_minor),
        ('payment.refunded', 1, c.fees, c.clearing, a.fee_minor),
        ('payment.refunded', 2, c.available, c.clearing, a.amount_minor - a.fee_minor),
        ('payment.dispute_opened', 1, c.available, c.disputed, a.amount_minor),
        ('payment.dispute_won', 1, c.disputed, c.available, a.amount_minor),
        ('payment.dispute_lost', 1, c.disputed, c.clearing, a.amount_minor),
        ('payment.dispute_lost', 2, c.available, c.fees, a.fee_minor),
        ('payment.dispute_reversed', 1, c.clearing, c.available, a.amount_minor)
    ) AS l (type, place, debit, credit, amount)
    WHERE l.type = a.type AND l.amount > 0
),
sides AS (
    SELECT l.leg, -1 AS side, l.debit AS code, l.amount FROM legs AS l
    UNION ALL
    SELECT l.leg, 1 AS side, l.credit AS code, l.amount FROM legs AS l
),
locked AS (
    SELECT
        a.code, b.account_id, b.stripe, b.normal_side, b.status, b.floor, b.ceiling,
        b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.version,
        b.last_posted_at
    FROM ledger_accounts AS a
    INNER JOIN ledger_balances AS b
        ON
            b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
            AND b.stripe = :'stripe'::integer % a.stripes
    WHERE
        a.tenant_id = :'tenant_id'::text
        AND a.code = any(array(SELECT s.code FROM sides AS s))
        AND a.currency = (SELECT q.currency FROM asked AS q)
    ORDER BY b.account_id, b.stripe
    FOR NO KEY UPDATE OF b
),
-- Entries in the order of their legs; n and moved count up within an account.
drafted AS (
    SELECT
        k.account_id, k.stripe, s.leg, s.side, s.amount,
        row_number() OVER w AS n,
        (sum(k.normal_side * s.side * s.amount) OVER w)::bigint AS moved
    FROM sides AS s INNER JOIN locked AS k ON s.code = k.code
    WINDOW w AS (PARTITION BY k.account_id, k.stripe ORDER BY s.leg)
),
totals AS (
    SELECT
        d.account_id, d.stripe, count(*) AS n,
        coalesce(sum(d.amount) FILTER (WHERE d.side = -1), 0)::bigint AS debits,
        coalesce(sum(d.amount) FILTER (WHERE d.side = 1), 0)::bigint AS credits
    FROM drafted AS d
    GROUP BY d.account_id, d.stripe
),
-- The clock is read after the locks, so that key order is version order (LP4).
book AS (
    SELECT
        greatest(clock_timestamp(), max(k.last_posted_at) + interval '1 microsecond') AS posted_at,
        count(*) AS accounts,
        bool_and(
            k.status = 'open'
            AND k.debits_posted + x.debits <= 4611686018427387904
            AND k.credits_posted + x.credits <= 4611686018427387904
            AND (
                k.ceiling IS NULL OR k.normal_side * (x.credits - x.debits) <= 0
                OR k.normal_side * (k.credits_posted + x.credits - k.debits_posted - x.debits)
                + CASE k.normal_side WHEN 1 THEN k.credits_pending ELSE k.debits_pending END
                <= k.ceiling
            )
            AND (
                (SELECT q.forced FROM asked AS q)
                OR k.floor IS NULL OR k.normal_side * (x.credits - x.debits) >= 0
                OR k.normal_side * (k.credits_posted + x.credits - k.debits_posted - x.debits)
                - CASE k.normal_side WHEN 1 THEN k.debits_pending ELSE k.credits_pending END
                >= k.floor
            )
        ) AS ok
    FROM locked AS k INNER JOIN totals AS x ON k.account_id = x.account_id AND k.stripe = x.stripe
),
decided AS (
    SELECT f.id, a.seq AS version, a.forced, b.posted_at
    FROM fresh AS f
    CROSS JOIN asked AS a
    CROSS JOIN book AS b
    WHERE b.ok AND b.accounts = (SELECT count(DISTINCT s.code) FROM sides AS s)
),
marked AS (
    UPDATE payments AS p
    SET unposted = false
    FROM fresh AS f
    WHERE
        p.tenant_id = :'tenant_id'::text AND p.id = f.id
        AND f.missing = (SELECT count(*) FROM decided)
),
header AS (
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, reference, forced, posted_at, effective_at, debit_accounts,
        credit_accounts, amounts, stripes, actor, request_id
    )
    SELECT
        :'tenant_id'::text, :'transaction_id'::uuid, 'post', 'applied',
        'payment:' || d.id || ':' || d.version, d.forced, d.posted_at, d.posted_at,
        array_agg(dr.account_id ORDER BY l.leg), array_agg(cr.account_id ORDER BY l.leg),
        array_agg(l.amount ORDER BY l.leg),
        CASE
            WHEN bool_or(dr.stripe + cr.stripe > 0)
                THEN array_agg(ARRAY[dr.stripe, cr.stripe] ORDER BY l.leg)
        END,
        :'actor'::text, :'request_id'::text
    FROM decided AS d
    CROSS JOIN legs AS l
    INNER JOIN locked AS dr ON l.debit = dr.code
    INNER JOIN locked AS cr ON l.credit = cr.code
    GROUP BY d.id, d.version, d.forced, d.posted_at
),
moved AS (
    UPDATE ledger_balances AS b
    SET
        debits_posted = b.debits_posted + x.debits, credits_posted = b.credits_posted + x.credits,
        version = b.version + x.n, last_posted_at = d.posted_at
    FROM decided AS d CROSS JOIN totals AS x
    WHERE
        b.tenant_id = :'tenant_id'::text AND b.account_id = x.account_id AND b.stripe = x.stripe
),
entered AS (
    INSERT INTO ledger_entries (
        tenant_id, account_id, stripe, posted_at, version, tx_id, leg, side, posted, effective_at,
        balance_after
    )
    SELECT
        :'tenant_id'::text, f.account_id, f.stripe, d.posted_at, k.version + f.n,
        :'transaction_id'::uuid, f.leg, f.side, f.amount, d.posted_at,
        k.normal_side * (k.credits_posted - k.debits_posted) + f.moved
    FROM decided AS d
    CROSS JOIN drafted AS f
    INNER JOIN locked AS k ON f.account_id = k.account_id AND f.stripe = k.stripe
)
SELECT
    f.missing, a.type, a.amount_minor, a.fee_minor,
    f.missing = 0 OR (SELECT count(*) FROM decided) = 1 AS is_posted
FROM fresh AS f
LEFT JOIN asked AS a ON true;
