-- payments/end: cancel or fail a payment before anything was authorised.
-- why: the two differ in their reason alone, so they are one statement.
-- params: tenant_id text, payment_id uuid, owner_id text?, if_match bigint, end_reason text, failure_code text?, failure_message text?, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row, then the key
-- claims: key
-- present: answer
WITH target AS (
    SELECT p.id, p.status, p.version, p.updated_at, payment_json(p) AS payment
    FROM payments AS p
    WHERE
        p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
        AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id)
    FOR NO KEY UPDATE
),
decided AS (
    SELECT
        t.id, t.payment, t.version + 1 AS version, greatest(t.updated_at, now()) AS updated_at,
        jsonb_build_object(
            'status', :'end_reason'::text, 'end_reason', :'end_reason'::text,
            'capture_before', NULL, 'authorized_minor', 0, 'captured_minor', 0, 'voided_minor', 0,
            'refunded_minor', 0, 'disputed_minor', 0, 'charged_back_minor', 0, 'fee_minor', 0,
            'fee_refunded_minor', 0
        ) AS after
    FROM target AS t
    WHERE t.status = 'created' AND :'if_match'::bigint IN (0, t.version)
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
        || jsonb_build_object('version', d.version, 'updated_at', d.updated_at,
            'failure_code', :'failure_code'::text,
            'failure_message', :'failure_message'::text
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
        status = :'end_reason'::text::payment_status,
        end_reason = :'end_reason'::text::payment_end_reason,
        failure_code = :'failure_code'::text, failure_message = :'failure_message'::text,
        version = d.version, updated_at = d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
),
logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, status_from, status_to, after, actor, request_id, key,
        created_at
    )
    SELECT
        :'tenant_id'::text, d.id, d.version, 'payment.' || :'end_reason'::text, 'created',
        :'end_reason'::text::payment_status, d.after, :'actor'::text, :'request_id'::text,
        :'key'::text, d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
)
SELECT c.answer, c.expires_at
FROM claimed AS c;
