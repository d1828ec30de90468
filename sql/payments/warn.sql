-- payments/warn: say once that an authorisation is about to expire.
-- why: no key: that it was not said yet is guard enough. One that is being changed is left for later.
-- params: tenant_id text, payment_id uuid, warning_s bigint, actor text, request_id text
-- kind: write | returns: count | locks: payments row, skipping a locked one
WITH target AS (
    SELECT
        p.id, p.status, p.authorized_minor, p.captured_minor, p.voided_minor, p.capture_before,
        p.expiry_warned, p.version, p.updated_at, payment_json(p) AS payment
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    FOR NO KEY UPDATE SKIP LOCKED
),
decided AS (
    SELECT
        t.id, t.status, t.payment, t.version + 1 AS version,
        greatest(t.updated_at, now()) AS updated_at,
        t.authorized_minor - t.captured_minor - t.voided_minor AS amount_minor
    FROM target AS t
    WHERE
        NOT t.expiry_warned
        AND t.capture_before > now()
        AND t.capture_before <= now() + make_interval(secs => :'warning_s'::bigint)
),
warned AS (
    UPDATE payments AS p
    SET expiry_warned = true, version = d.version, updated_at = d.updated_at
    FROM decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = d.id
)
-- `key` is of the run: no client has asked for this.
INSERT INTO payment_events (
    tenant_id, payment_id, seq, type, amount_minor, status_from, status_to, after, actor,
    request_id, key, created_at
)
SELECT
    :'tenant_id'::text, d.id, d.version, 'payment.authorization_expiring', d.amount_minor,
    d.status, d.status,
    jsonb_build_object(
        'status', d.payment -> 'status', 'end_reason', d.payment -> 'end_reason',
        'capture_before', d.payment -> 'capture_before',
        'authorized_minor', d.payment -> 'authorized_minor',
        'captured_minor', d.payment -> 'captured_minor',
        'voided_minor', d.payment -> 'voided_minor',
        'refunded_minor', d.payment -> 'refunded_minor',
        'disputed_minor', d.payment -> 'disputed_minor',
        'charged_back_minor', d.payment -> 'charged_back_minor',
        'fee_minor', d.payment -> 'fee_minor',
        'fee_refunded_minor', d.payment -> 'fee_refunded_minor'
    ),
    :'actor'::text, :'request_id'::text, :'request_id'::text, d.updated_at
FROM decided AS d;
