-- payments/authorize: the payer's bank has promised the money; it waits to be captured.
-- why: no ledger here: a promise is not yet money. An automatic payment is captured by payments/capture.
-- params: tenant_id text, payment_id uuid, if_match bigint, amount_minor bigint, currency text?, capture_before text?, gateway_reference text?, authorization_ttl_s bigint, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row, then the key
-- claims: key
-- present: answer
WITH target AS (
    SELECT
        p.id, p.amount_minor, p.version, p.updated_at, p.status, p.capture_method, p.currency,
        payment_json(p) AS payment
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    FOR NO KEY UPDATE
),
asked AS (
    SELECT
        t.id, t.version + 1 AS version, t.payment, greatest(t.updated_at, now()) AS updated_at,
        coalesce(nullif(:'amount_minor'::bigint, 0), t.amount_minor) AS authorized_minor,
        coalesce(
            :'capture_before'::text::timestamptz,
            now() + make_interval(secs => :'authorization_ttl_s'::bigint)
        ) AS capture_before
    FROM target AS t
    WHERE
        t.status = 'created'
        AND t.capture_method <> 'automatic'
        AND :'amount_minor'::bigint <= t.amount_minor
        AND :'if_match'::bigint IN (0, t.version)
        AND coalesce(t.currency = :'currency'::text, true)
),
decided AS (
    SELECT
        a.id, a.version, a.payment, a.updated_at, a.authorized_minor, a.capture_before,
        jsonb_build_object(
            'status', 'authorized', 'end_reason', NULL, 'capture_before', a.capture_before,
            'authorized_minor', a.authorized_minor, 'captured_minor', 0, 'voided_minor', 0,
            'refunded_minor', 0, 'disputed_minor', 0, 'charged_back_minor', 0, 'fee_minor', 0,
            'fee_refunded_minor', 0
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
        || jsonb_build_object(
            'version', d.version, 'updated_at', d.updated_at,
            'gateway_reference', :'gateway_reference'::text, 'overdue', d.capture_before <= now()
        ),
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
        status = 'authorized', authorized_minor = d.authorized_minor,
        capture_before = d.capture_before, gateway_reference = :'gateway_reference'::text,
        version = d.version, updated_at = d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
),
logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, amount_minor, status_from, status_to, after, actor,
        request_id, key, created_at
    )
    SELECT
        :'tenant_id'::text, d.id, d.version, 'payment.authorized', d.authorized_minor, 'created',
        'authorized', d.after, :'actor'::text, :'request_id'::text, :'key'::text, d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
)
SELECT c.answer, c.expires_at
FROM claimed AS c;
