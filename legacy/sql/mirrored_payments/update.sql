-- mirrored_payments/update: a payment as legacy has it now, with the event that says so.
-- why: only a lower version gives way (D1, D23); captures and refunds get the difference, so that they
--   sum up to the amounts (D24). What is less than before, or disputed in another way, is refused
--   before. The row is held already.
-- params: tenant_id text, payment_id uuid, row jsonb, version bigint, unposted boolean,
--   capture_id uuid, refund_id uuid, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row
-- present: captured_minor, refunded_minor, fee_minor, fee_refunded_minor
WITH given AS (
    SELECT
        p.captured_minor AS had_captured, p.refunded_minor AS had_refunded,
        p.fee_minor AS had_fee, p.fee_refunded_minor AS had_fee_refunded,
        p.status AS status_from, p.user_id, p.gateway AS had_gateway, r.legacy_id, r.reference,
        r.gateway_reference, r.description, r.metadata, r.status, r.end_reason, r.failure_code,
        r.failure_message, r.capture_before, r.authorized_minor, r.captured_minor,
        r.voided_minor, r.refunded_minor, r.disputed_minor, r.charged_back_minor, r.fee_minor,
        r.fee_refunded_minor, r.created_at, r.updated_at
    FROM payments AS p
    CROSS JOIN jsonb_to_record(:'row'::jsonb) AS r (
        id uuid, legacy_id text, version bigint, user_id uuid, user_legacy_id text, reference text,
        amount_minor bigint, currency text, capture_method text, gateway text,
        gateway_reference text, description text, metadata jsonb, status text, end_reason text,
        failure_code text, failure_message text, capture_before timestamptz,
        authorized_minor bigint, captured_minor bigint, voided_minor bigint,
        refunded_minor bigint, disputed_minor bigint, charged_back_minor bigint,
        fee_minor bigint, fee_refunded_minor bigint, created_at timestamptz,
        updated_at timestamptz
    )
    WHERE
        p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
        AND p.version < :'version'::bigint
),

changed AS (
    UPDATE payments AS p
    SET
        legacy_id = g.legacy_id, version = :'version'::bigint, reference = g.reference,
        gateway_reference = g.gateway_reference, description = g.description,
        metadata = g.metadata, status = g.status::payment_status,
        end_reason = g.end_reason::payment_end_reason, failure_code = g.failure_code,
        failure_message = g.failure_message, capture_before = g.capture_before,
        authorized_minor = g.authorized_minor, captured_minor = g.captured_minor,
        voided_minor = g.voided_minor, refunded_minor = g.refunded_minor,
        fee_minor = g.fee_minor, fee_refunded_minor = g.fee_refunded_minor,
        unposted = p.unposted OR (
            :'unposted'::boolean
            AND (g.had_captured, g.had_refunded) <> (g.captured_minor, g.refunded_minor)
        ),
        created_at = g.created_at, updated_at = g.updated_at
    FROM given AS g
    WHERE
        p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
        AND p.version < :'version'::bigint
    RETURNING p.id, p.currency
),

logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, status_from, status_to, after, actor, request_id, key,
        created_at
    )
    SELECT
        :'tenant_id'::text, c.id, :'version'::bigint, 'payment.mirrored', g.status_from,
        g.status::payment_status, jsonb_build_object(
        'status', g.status, 'end_reason', g.end_reason, 'capture_before', g.capture_before,
        'authorized_minor', g.authorized_minor, 'captured_minor', g.captured_minor,
        'voided_minor', g.voided_minor, 'refunded_minor', g.refunded_minor,
        'disputed_minor', g.disputed_minor, 'charged_back_minor', g.charged_back_minor,
        'fee_minor', g.fee_minor, 'fee_refunded_minor', g.fee_refunded_minor
    ),
        :'actor'::text, :'request_id'::text, 'legacy-' || c.id || '-' || :'version'::bigint,
        now()
    FROM changed AS c CROSS JOIN given AS g
),

captured AS (
    INSERT INTO payment_captures (
        tenant_id, id, payment_id, amount_minor, fee_minor, final, created_at
    )
    SELECT
        :'tenant_id'::text, :'capture_id'::uuid, c.id, g.captured_minor - g.had_captured,
        g.fee_minor - g.had_fee, g.captured_minor + g.voided_minor = g.authorized_minor,
        g.updated_at
    FROM changed AS c CROSS JOIN given AS g
    WHERE g.captured_minor > g.had_captured
),

refunded AS (
    INSERT INTO payment_refunds (tenant_id, id, payment_id, amount_minor, fee_minor, created_at)
    SELECT
        :'tenant_id'::text, :'refund_id'::uuid, c.id, g.refunded_minor - g.had_refunded,
        g.fee_refunded_minor - g.had_fee_refunded, g.updated_at
    FROM changed AS c CROSS JOIN given AS g
    WHERE g.refunded_minor > g.had_refunded
)

SELECT
    c.id, g.legacy_id, :'version'::bigint AS version, g.user_id, c.currency,
    g.had_gateway AS gateway, g.captured_minor - g.had_captured AS captured_minor,
    g.refunded_minor - g.had_refunded AS refunded_minor, 0::bigint AS disputed_minor,
    0::bigint AS charged_back_minor, g.fee_minor - g.had_fee AS fee_minor,
    g.fee_refunded_minor - g.had_fee_refunded AS fee_refunded_minor
FROM changed AS c CROSS JOIN given AS g;
