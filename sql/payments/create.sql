-- payments/create: promise a payment; nothing moves yet.
-- why: no row to lock, so the key is claimed first; a reference used before then raises and undoes it.
-- params: tenant_id text, payment_id uuid, user_id uuid, reference text?, amount_minor bigint, currency text, capture_method text, description text?, metadata text, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, actor text, request_id text, duplicate_window_s bigint
-- kind: write | returns: 0..1 | locks: the key
-- claims: key
-- present: answer
WITH payer AS (
    SELECT u.id
    FROM users AS u
    WHERE u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid AND u.status = 'active'
),
coin AS (
    SELECT c.code
    FROM currencies AS c
    WHERE
        c.code = :'currency'::text::char(3) AND c.code = :'currency'::text
        AND c.exponent IS NOT NULL AND c.withdrawn_on IS NULL
),
-- Only the payer's last few payments are looked at: a warning must not cost more than the payment.
recent AS (
    SELECT p.id, p.amount_minor, p.currency, p.created_at
    FROM payments AS p
    WHERE p.tenant_id = :'tenant_id'::text AND p.user_id = :'user_id'::uuid
    ORDER BY p.created_at DESC, p.id DESC
    LIMIT 10
),
decided AS (
    SELECT
        now() AS at,
        jsonb_build_object(
            'status', 'created', 'end_reason', NULL, 'capture_before', NULL,
            'authorized_minor', 0, 'captured_minor', 0, 'voided_minor', 0, 'refunded_minor', 0,
            'disputed_minor', 0, 'charged_back_minor', 0, 'fee_minor', 0, 'fee_refunded_minor', 0
        ) AS after,
        jsonb_build_object(
            'id', :'payment_id'::uuid,
            'user_id', payer.id,
            'legacy_id', NULL,
            'reference', :'reference'::text,
            'amount_minor', :'amount_minor'::bigint,
            'currency', coin.code,
            'capture_method', :'capture_method'::text,
            'gateway', 'manual',
            'gateway_reference', NULL,
            'description', :'description'::text,
            'metadata', :'metadata'::text::jsonb,
            'failure_code', NULL,
            'failure_message', NULL,
            'version', 1,
            'created_at', now(),
            'updated_at', now(),
            'duplicate_suspected', (
                SELECT r.id
                FROM recent AS r
                WHERE
                    r.amount_minor = :'amount_minor'::bigint AND r.currency = coin.code
                    AND r.created_at > now() - make_interval(secs => :'duplicate_window_s'::bigint)
                LIMIT 1
            )
        ) AS payment
    FROM payer CROSS JOIN coin
),
claimed AS (
    INSERT INTO idempotency_keys AS k (
        tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, status, answer,
        resource_type, resource_id, request_id, created_at, expires_at
    )
    SELECT
        :'tenant_id'::text, :'scope'::text, :'key'::text, :'operation'::text,
        :'fingerprint'::bytea, :'fingerprint_version'::smallint, 'completed', 201,
        d.payment || d.after, 'payment', :'payment_id'::uuid, :'request_id'::text, d.at,
        d.at + make_interval(secs => :'ttl_s'::bigint)
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
    RETURNING k.answer, k.created_at, k.expires_at
),
made AS (
    INSERT INTO payments (
        tenant_id, id, user_id, reference, amount_minor, currency, capture_method, description,
        metadata, status, created_at, updated_at
    )
    SELECT
        :'tenant_id'::text, :'payment_id'::uuid, :'user_id'::uuid, :'reference'::text,
        :'amount_minor'::bigint, :'currency'::text::char(3),
        :'capture_method'::text::payment_capture_method, :'description'::text,
        :'metadata'::text::jsonb, 'created', c.created_at, c.created_at
    FROM claimed AS c
),
logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, amount_minor, status_to, after, actor, request_id, key,
        created_at
    )
    SELECT
        :'tenant_id'::text, :'payment_id'::uuid, 1, 'payment.created', :'amount_minor'::bigint,
        'created', d.after, :'actor'::text, :'request_id'::text, :'key'::text, c.created_at
    FROM claimed AS c CROSS JOIN decided AS d
)
SELECT c.answer, c.expires_at
FROM claimed AS c;
