-- payments/void: give back what was authorised and not captured.
-- why: no ledger here: what is given back is a promise. It works on an overdue payment too.
-- params: tenant_id text, payment_id uuid, if_match bigint, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row, then the key
-- claims: key
-- present: answer
WITH target AS (
    SELECT
        p.id, p.status, p.authorized_minor, p.captured_minor, p.voided_minor, p.refunded_minor,
        p.disputed_minor, p.charged_back_minor, p.version, p.updated_at, payment_json(p) AS payment
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    FOR NO KEY UPDATE
),
-- Everything left goes, so that afterwards voided = authorized - captured.
asked AS (
    SELECT
        t.id, t.payment, t.status AS status_from, t.version + 1 AS version,
        greatest(t.updated_at, now()) AS updated_at,
        t.authorized_minor - t.captured_minor - t.voided_minor AS amount_minor,
        t.authorized_minor - t.captured_minor AS voided_minor,
        CASE WHEN t.captured_minor = 0 THEN 'voided'::payment_end_reason END AS end_reason,
        payment_status_of(
            t.authorized_minor, t.captured_minor, t.authorized_minor - t.captured_minor,
            t.refunded_minor, t.disputed_minor, t.charged_back_minor,
            CASE WHEN t.captured_minor = 0 THEN 'voided'::payment_end_reason END
        ) AS status_to
    FROM target AS t
    WHERE
        t.authorized_minor > t.captured_minor + t.voided_minor
        AND :'if_match'::bigint IN (0, t.version)
),
decided AS (
    SELECT
        a.id, a.version, a.payment, a.updated_at, a.amount_minor, a.voided_minor, a.end_reason,
        a.status_from, a.status_to,
        jsonb_build_object(
            'status', a.status_to, 'end_reason', a.end_reason, 'capture_before', NULL,
            'authorized_minor', a.payment -> 'authorized_minor',
            'captured_minor', a.payment -> 'captured_minor', 'voided_minor', a.voided_minor,
            'refunded_minor', a.payment -> 'refunded_minor',
            'disputed_minor', a.payment -> 'disputed_minor',
            'charged_back_minor', a.payment -> 'charged_back_minor',
            'fee_minor', a.payment -> 'fee_minor',
            'fee_refunded_minor', a.payment -> 'fee_refunded_minor'
        ) AS after
    FROM asked AS a
),
claimed AS (
    INSERT INTO idempotency_keys AS k (
        tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, status, answer,
        resource_type, resource_id, request_id, created_at, expires_at
    )
    SELECT
        :'tenant_id'::text, :'scope'::text, :'key'::text, :'operation'::text,
        :'fingerprint'::bytea, :'fingerprint_version'::smallint, 'completed', 200,
        d.payment || d.after
        || jsonb_build_object('version', d.version, 'updated_at', d.updated_at),
        'payment', d.id, :'request_id'::text, now(),
        now() + make_interval(secs => :'ttl_s'::bigint)
    FROM decided AS d
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
        status = d.status_to, voided_minor = d.voided_minor, end_reason = d.end_reason,
        capture_before = NULL, version = d.version, updated_at = d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
),
logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, amount_minor, status_from, status_to, after, actor,
        request_id, key, created_at
    )
    SELECT
        :'tenant_id'::text, d.id, d.version, 'payment.voided', d.amount_minor, d.status_from,
        d.status_to, d.after, :'actor'::text, :'request_id'::text, :'key'::text, d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
)
SELECT c.answer, c.expires_at
FROM claimed AS c;
