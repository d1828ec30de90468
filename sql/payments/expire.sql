-- payments/expire: give back what was authorised and not captured in time.
-- why: no key: that it is overdue is guard enough. One that is being changed is left for later.
-- params: tenant_id text, payment_id uuid, actor text, request_id text
-- kind: write | returns: count | locks: payments row, skipping a locked one
WITH target AS (
    SELECT
        p.id, p.status, p.authorized_minor, p.captured_minor, p.voided_minor, p.refunded_minor,
        p.disputed_minor, p.charged_back_minor, p.fee_minor, p.fee_refunded_minor,
        p.capture_before, p.version, p.updated_at
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    FOR NO KEY UPDATE SKIP LOCKED
),
-- Everything left goes, so that afterwards voided = authorized - captured.
asked AS (
    SELECT
        t.id, t.status AS status_from, t.version + 1 AS version,
        greatest(t.updated_at, now()) AS updated_at,
        t.authorized_minor - t.captured_minor - t.voided_minor AS amount_minor,
        t.authorized_minor - t.captured_minor AS voided_minor,
        CASE WHEN t.captured_minor = 0 THEN 'expired'::payment_end_reason END AS end_reason,
        t.authorized_minor, t.captured_minor, t.refunded_minor, t.disputed_minor,
        t.charged_back_minor, t.fee_minor, t.fee_refunded_minor
    FROM target AS t
    WHERE t.capture_before <= now() AND t.authorized_minor > t.captured_minor + t.voided_minor
),
decided AS (
    SELECT
        a.id, a.status_from, a.version, a.updated_at, a.amount_minor, a.voided_minor, a.end_reason,
        s.status_to,
        jsonb_build_object(
            'status', s.status_to, 'end_reason', a.end_reason, 'capture_before', NULL,
            'authorized_minor', a.authorized_minor, 'captured_minor', a.captured_minor,
            'voided_minor', a.voided_minor, 'refunded_minor', a.refunded_minor,
            'disputed_minor', a.disputed_minor, 'charged_back_minor', a.charged_back_minor,
            'fee_minor', a.fee_minor, 'fee_refunded_minor', a.fee_refunded_minor
        ) AS after
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT payment_status_of(
            a.authorized_minor, a.captured_minor, a.voided_minor, a.refunded_minor,
            a.disputed_minor, a.charged_back_minor, a.end_reason
        ) AS status_to
    ) AS s
),
voided AS (
    UPDATE payments AS p
    SET
        status = d.status_to, voided_minor = d.voided_minor, end_reason = d.end_reason,
        capture_before = NULL, version = d.version, updated_at = d.updated_at
    FROM decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = d.id
)
-- `key` is of the run: no client has asked for this.
INSERT INTO payment_events (
    tenant_id, payment_id, seq, type, amount_minor, status_from, status_to, after, actor,
    request_id, key, created_at
)
SELECT
    :'tenant_id'::text, d.id, d.version, 'payment.expired', d.amount_minor, d.status_from,
    d.status_to, d.after, :'actor'::text, :'request_id'::text, :'request_id'::text, d.updated_at
FROM decided AS d;
