-- disputes/open: the payer's bank takes money back for now; it is set aside until that is resolved.
-- why: every step after `claimed` reads from it, so a used key or a refused amount changes nothing.
--   forced: the payer's bank does not ask whether the user has spent it (section 5).
-- params: tenant_id text, payment_id uuid, if_match bigint, amount_minor bigint, reason text, reference text, evidence_due_at text?, currency text?, dispute_id uuid, transaction_id uuid, ledger boolean, stripe integer, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row, ledger_balances by (account_id, stripe), then the key
-- claims: key
-- present: answer
WITH target AS (
    SELECT
        p.id, p.user_id, p.currency, p.status, p.authorized_minor, p.captured_minor,
        p.voided_minor, p.refunded_minor, p.disputed_minor, p.charged_back_minor, p.capture_before,
        p.unposted, p.version, p.updated_at, payment_json(p) AS payment,
        p.captured_minor - p.refunded_minor - p.disputed_minor - p.charged_back_minor
            AS refundable_minor
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    FOR NO KEY UPDATE
),
-- What is asked of it, if its state allows that: an amount of 0 stands for all that is left.
asked AS (
    SELECT
        t.user_id, t.currency,
        coalesce(nullif(:'amount_minor'::bigint, 0), t.refundable_minor) AS amount_minor,
        true AS forced
    FROM target AS t
    WHERE
        t.refundable_minor > 0
        AND :'amount_minor'::bigint <= t.refundable_minor
        AND :'if_match'::bigint IN (0, t.version)
        AND coalesce(t.currency = :'currency'::text, true)
        AND NOT (t.unposted AND :'ledger'::boolean)
),
legs AS (
    SELECT
        1 AS leg, 'users:' || a.user_id || ':available' AS debit,
        'users:' || a.user_id || ':disputed' AS credit, a.amount_minor AS amount
    FROM asked AS a
    WHERE :'ledger'::boolean
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
    SELECT
        t.id, t.payment, t.status AS status_from, t.version + 1 AS version, a.amount_minor,
        t.currency, t.disputed_minor + a.amount_minor AS disputed_minor,
        t.unposted OR NOT :'ledger'::boolean AS unposted, a.forced, b.posted_at,
        greatest(t.updated_at, now()) AS updated_at,
        coalesce(t.capture_before <= now(), false) AS overdue,
        payment_status_of(
            t.authorized_minor, t.captured_minor, t.voided_minor, t.refunded_minor,
            t.disputed_minor + a.amount_minor, t.charged_back_minor, NULL
        ) AS status_to
    FROM target AS t
    CROSS JOIN asked AS a
    CROSS JOIN book AS b
    WHERE
        NOT :'ledger'::boolean
        OR (b.ok AND b.accounts = (SELECT count(DISTINCT s.code) FROM sides AS s))
),
outcome AS (
    SELECT jsonb_build_object(
        'status', d.status_to, 'end_reason', NULL,
        'capture_before', d.payment -> 'capture_before',
        'authorized_minor', d.payment -> 'authorized_minor',
        'captured_minor', d.payment -> 'captured_minor',
        'voided_minor', d.payment -> 'voided_minor',
        'refunded_minor', d.payment -> 'refunded_minor', 'disputed_minor', d.disputed_minor,
        'charged_back_minor', d.payment -> 'charged_back_minor',
        'fee_minor', d.payment -> 'fee_minor',
        'fee_refunded_minor', d.payment -> 'fee_refunded_minor'
    ) AS after
    FROM decided AS d
),
claimed AS (
    INSERT INTO idempotency_keys AS k (
        tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, status, answer,
        resource_type, resource_id, request_id, created_at, expires_at
    )
    SELECT
        :'tenant_id'::text, :'scope'::text, :'key'::text, :'operation'::text,
        :'fingerprint'::bytea, :'fingerprint_version'::smallint, 'completed', 201,
        jsonb_build_object(
            'id', :'dispute_id'::uuid, 'payment_id', d.id, 'reference', :'reference'::text,
            'amount_minor', d.amount_minor, 'currency', d.currency, 'fee_minor', 0,
            'reason', :'reason'::text, 'status', 'open',
            'evidence_due_at', :'evidence_due_at'::text::timestamptz,
            'created_at', d.updated_at, 'updated_at', d.updated_at,
            'payment', d.payment || o.after || jsonb_build_object(
                'version', d.version, 'updated_at', d.updated_at, 'overdue', d.overdue
            )
        ),
        'dispute', :'dispute_id'::uuid, :'request_id'::text, now(),
        now() + make_interval(secs => :'ttl_s'::bigint)
    FROM decided AS d CROSS JOIN outcome AS o
    ON CONFLICT (tenant_id, scope, key) DO UPDATE
    SET
        operation = excluded.operation, fingerprint = excluded.fingerprint,
        fingerprint_version = excluded.fingerprint_version, kind = excluded.kind,
        status = excluded.status, answer = excluded.answer,
        resource_type = excluded.resource_type, resource_id = excluded.resource_id,
        request_id = excluded.request_id, created_at = excluded.created_at,
        expires_at = excluded.expires_at
    WHERE k.expires_at <= excluded.created_at
    RETURNING k.answer, k.expires_at
),
paid AS (
    UPDATE payments AS p
    SET
        status = d.status_to, disputed_minor = d.disputed_minor, unposted = d.unposted,
        version = d.version, updated_at = d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
),
disputed AS (
    INSERT INTO payment_disputes (
        tenant_id, id, payment_id, reference, amount_minor, reason, evidence_due_at, created_at,
        updated_at
    )
    SELECT
        :'tenant_id'::text, :'dispute_id'::uuid, d.id, :'reference'::text, d.amount_minor,
        :'reason'::text, :'evidence_due_at'::text::timestamptz, d.updated_at, d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
),
logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, amount_minor, status_from, status_to, after, object_id,
        actor, request_id, key, created_at
    )
    SELECT
        :'tenant_id'::text, d.id, d.version, 'payment.dispute_opened', d.amount_minor,
        d.status_from, d.status_to, o.after, :'dispute_id'::uuid, :'actor'::text,
        :'request_id'::text, :'key'::text, d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d CROSS JOIN outcome AS o
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
    FROM claimed AS c
    CROSS JOIN decided AS d
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
    FROM claimed AS c CROSS JOIN decided AS d CROSS JOIN totals AS x
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
    FROM claimed AS c
    CROSS JOIN decided AS d
    CROSS JOIN drafted AS f
    INNER JOIN locked AS k ON f.account_id = k.account_id AND f.stripe = k.stripe
)
SELECT c.answer, c.expires_at
FROM claimed AS c;
