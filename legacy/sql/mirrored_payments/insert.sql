-- mirrored_payments/insert: payments of legacy that new does not have yet; gives those that are new.
-- why: inserts what is missing and updates nothing (D27): each with the event that says where it came
--   from, and with a capture, a refund and disputes that sum up to its amounts (D24). Who has no
--   user here is left out, and waits. `unposted`: the ledger is off, or posts it next.
-- params: tenant_id text, rows jsonb, unposted boolean, actor text, request_id text
-- kind: write | returns: many | locks: users rows (key share)
-- present: captured_minor, refunded_minor, disputed_minor, charged_back_minor, fee_minor,
--   fee_refunded_minor
WITH given AS (
    SELECT
        r.id, r.legacy_id, r.version, r.reference, r.amount_minor, r.currency, r.capture_method,
        r.gateway, r.gateway_reference, r.description, r.metadata, r.status, r.end_reason,
        r.failure_code, r.failure_message, r.capture_before, r.authorized_minor,
        r.captured_minor, r.voided_minor, r.refunded_minor, r.disputed_minor,
        r.charged_back_minor, r.fee_minor, r.fee_refunded_minor, r.created_at, r.updated_at,
        r.capture_id, r.refund_id, r.dispute_id, r.loss_id, u.id AS owner_id
    FROM jsonb_to_recordset(:'rows'::jsonb) AS r (
        id uuid, legacy_id text, version bigint, user_id uuid, user_legacy_id text, reference text,
        amount_minor bigint, currency text, capture_method text, gateway text,
        gateway_reference text, description text, metadata jsonb, status text, end_reason text,
        failure_code text, failure_message text, capture_before timestamptz,
        authorized_minor bigint, captured_minor bigint, voided_minor bigint,
        refunded_minor bigint, disputed_minor bigint, charged_back_minor bigint,
        fee_minor bigint, fee_refunded_minor bigint, created_at timestamptz,
        updated_at timestamptz,
        capture_id uuid, refund_id uuid, dispute_id uuid, loss_id uuid
    )
    INNER JOIN users AS u
        ON
            u.tenant_id = :'tenant_id'::text
            AND (
                u.legacy_id = r.user_legacy_id OR (u.legacy_id IS NULL AND u.id = r.user_id)
            )
),

made AS (
    INSERT INTO payments (
        tenant_id, id, legacy_id, version, user_id, reference, amount_minor, currency,
        capture_method, gateway, gateway_reference, description, metadata, status, end_reason,
        failure_code, failure_message, capture_before, authorized_minor, captured_minor,
        voided_minor, refunded_minor, disputed_minor, charged_back_minor, fee_minor,
        fee_refunded_minor, unposted, created_at, updated_at
    )
    SELECT
        :'tenant_id'::text, g.id, g.legacy_id, g.version, g.owner_id, g.reference,
        g.amount_minor, g.currency::char(3), g.capture_method::payment_capture_method, g.gateway,
        g.gateway_reference, g.description, g.metadata, g.status::payment_status,
        g.end_reason::payment_end_reason, g.failure_code, g.failure_message, g.capture_before,
        g.authorized_minor, g.captured_minor, g.voided_minor, g.refunded_minor, g.disputed_minor,
        g.charged_back_minor, g.fee_minor, g.fee_refunded_minor,
        :'unposted'::boolean AND g.captured_minor > 0, g.created_at, g.updated_at
    FROM given AS g
    ON CONFLICT DO NOTHING
    RETURNING id
),

logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, amount_minor, status_to, after, actor, request_id, key,
        created_at
    )
    SELECT
        :'tenant_id'::text, g.id, g.version, 'payment.mirrored', g.amount_minor,
        g.status::payment_status, jsonb_build_object(
        'status', g.status, 'end_reason', g.end_reason, 'capture_before', g.capture_before,
        'authorized_minor', g.authorized_minor, 'captured_minor', g.captured_minor,
        'voided_minor', g.voided_minor, 'refunded_minor', g.refunded_minor,
        'disputed_minor', g.disputed_minor, 'charged_back_minor', g.charged_back_minor,
        'fee_minor', g.fee_minor, 'fee_refunded_minor', g.fee_refunded_minor
    ),
        :'actor'::text, :'request_id'::text, 'legacy-' || g.id, now()
    FROM given AS g INNER JOIN made AS m ON g.id = m.id
),

captured AS (
    INSERT INTO payment_captures (
        tenant_id, id, payment_id, amount_minor, fee_minor, final, created_at
    )
    SELECT
        :'tenant_id'::text, g.capture_id, g.id, g.captured_minor, g.fee_minor,
        g.captured_minor + g.voided_minor = g.authorized_minor, g.created_at
    FROM given AS g INNER JOIN made AS m ON g.id = m.id
    WHERE g.captured_minor > 0
),

refunded AS (
    INSERT INTO payment_refunds (tenant_id, id, payment_id, amount_minor, fee_minor, created_at)
    SELECT
        :'tenant_id'::text, g.refund_id, g.id, g.refunded_minor, g.fee_refunded_minor,
        g.updated_at
    FROM given AS g INNER JOIN made AS m ON g.id = m.id
    WHERE g.refunded_minor > 0
),

disputed AS (
    INSERT INTO payment_disputes (
        tenant_id, id, payment_id, reference, amount_minor, reason, status, created_at, updated_at
    )
    SELECT
        :'tenant_id'::text, d.id, g.id, d.reference, d.amount_minor, 'other', d.status,
        g.updated_at, g.updated_at
    FROM given AS g
    INNER JOIN made AS m ON g.id = m.id
    CROSS JOIN LATERAL (
        VALUES
        (g.dispute_id, 'legacy-open', g.disputed_minor, 'open'),
        (g.loss_id, 'legacy-lost', g.charged_back_minor, 'lost')
    ) AS d (id, reference, amount_minor, status)
    WHERE d.amount_minor > 0
)

SELECT
    g.id, g.legacy_id, g.version, g.owner_id AS user_id, g.currency, g.gateway, g.captured_minor,
    g.refunded_minor, g.disputed_minor, g.charged_back_minor, g.fee_minor, g.fee_refunded_minor
FROM given AS g INNER JOIN made AS m ON g.id = m.id;
