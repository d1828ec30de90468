-- mirrored_payments/post: what a copied payment moved since it was copied last (D24).
-- why: one transaction of the differences, so that the accounts hold what the payments say. Forced: it
--   has happened. No row: accounts are missing, closed, or full.
-- params: tenant_id text, payment_id uuid, version bigint, user_id uuid, gateway text, currency text,
--   captured_minor bigint, refunded_minor bigint, disputed_minor bigint, charged_back_minor bigint,
--   fee_minor bigint, fee_refunded_minor bigint, transaction_id uuid, stripe integer, actor text,
--   request_id text
-- kind: write | returns: 0..1 | locks: ledger_balances by (account_id, stripe)
WITH asked AS (
    SELECT
        :'payment_id'::uuid AS id, :'version'::bigint AS version, :'user_id'::uuid AS user_id,
        :'gateway'::text AS gateway, :'currency'::text::char(3) AS currency,
        :'captured_minor'::bigint AS captured_minor, :'refunded_minor'::bigint AS refunded_minor,
        :'disputed_minor'::bigint AS disputed_minor,
        :'charged_back_minor'::bigint AS charged_back_minor, :'fee_minor'::bigint AS fee_minor,
        :'fee_refunded_minor'::bigint AS fee_refunded_minor
),
-- Numbered without a gap, as a header's arrays are.
legs AS (
    SELECT
        row_number() OVER (ORDER BY l.place) AS leg,
        CASE WHEN l.amount > 0 THEN l.debit ELSE l.credit END AS debit,
        CASE WHEN l.amount > 0 THEN l.credit ELSE l.debit END AS credit,
        abs(l.amount) AS amount
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT
            'users:' || a.user_id || ':available' AS available,
            'users:' || a.user_id || ':disputed' AS disputed,
            'gateways:' || a.gateway || ':clearing' AS clearing, 'platform:fees' AS fees
    ) AS c
    CROSS JOIN LATERAL (
        VALUES
        (1, c.clearing, c.fees, a.fee_minor),
        (2, c.clearing, c.available, a.captured_minor - a.fee_minor),
        (3, c.fees, c.clearing, a.fee_refunded_minor),
        (4, c.available, c.clearing, a.refunded_minor - a.fee_refunded_minor),
        (5, c.available, c.disputed, a.disputed_minor),
        (6, c.available, c.clearing, a.charged_back_minor)
    ) AS l (place, debit, credit, amount)
    WHERE l.amount <> 0
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
        ) AS ok
    FROM locked AS k INNER JOIN totals AS x ON k.account_id = x.account_id AND k.stripe = x.stripe
),
decided AS (
    SELECT a.id, a.version, b.posted_at
    FROM asked AS a
    CROSS JOIN book AS b
    WHERE b.ok AND b.accounts = (SELECT count(DISTINCT s.code) FROM sides AS s)
),
header AS (
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, reference, forced, posted_at, effective_at, debit_accounts,
        credit_accounts, amounts, stripes, metadata, metadata_hash, actor, request_id
    )
    SELECT
        :'tenant_id'::text, :'transaction_id'::uuid, 'post', 'applied',
        'payment:' || d.id || ':' || d.version, true, d.posted_at, d.posted_at,
        array_agg(dr.account_id ORDER BY l.leg), array_agg(cr.account_id ORDER BY l.leg),
        array_agg(l.amount ORDER BY l.leg),
        CASE
            WHEN bool_or(dr.stripe + cr.stripe > 0)
                THEN array_agg(ARRAY[dr.stripe, cr.stripe] ORDER BY l.leg)
        END,
        '{"source":"legacy"}'::jsonb, sha256('{"source":"legacy"}'::bytea),
        :'actor'::text, :'request_id'::text
    FROM decided AS d
    CROSS JOIN legs AS l
    INNER JOIN locked AS dr ON l.debit = dr.code
    INNER JOIN locked AS cr ON l.credit = cr.code
    GROUP BY d.id, d.version, d.posted_at
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
SELECT d.version
FROM decided AS d;
