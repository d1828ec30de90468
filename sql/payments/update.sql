-- payments/update: change description and metadata, by merging (RFC 7396).
-- why: merged under the lock, so two changes of different names lose nothing. What changes nothing
--   writes no event. metadata: the names to set, null takes one away; NULL takes all away.
-- params: tenant_id text, payment_id uuid, owner_id text?, if_match bigint, sets_description boolean, description text?, metadata text?, scope text, key text, operation text, fingerprint bytea, fingerprint_version smallint, ttl_s bigint, actor text, request_id text
-- kind: write | returns: 0..1 | locks: payments row, then the key
-- claims: key
-- present: answer
WITH target AS (
    SELECT
        p.id, p.status, p.description, p.metadata, p.capture_before, p.version, p.updated_at,
        payment_json(p) AS payment
    FROM payments AS p
    WHERE
        p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
        AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id)
    FOR NO KEY UPDATE
),
asked AS (
    SELECT
        t.id, t.payment, t.status, t.version, t.updated_at, n.description, n.metadata,
        coalesce(t.capture_before <= now(), false) AS overdue,
        (n.description IS DISTINCT FROM t.description OR n.metadata <> t.metadata) AS is_change
    FROM target AS t
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN :'sets_description'::boolean THEN :'description'::text ELSE t.description
            END AS description,
            coalesce(jsonb_strip_nulls(t.metadata || :'metadata'::text::jsonb), '{}') AS metadata
    ) AS n
    WHERE
        :'if_match'::bigint IN (0, t.version)
        AND (
            SELECT
                count(*) <= 50
                AND coalesce(sum(octet_length(m.key) + octet_length(m.value)), 0) <= 8192
            FROM jsonb_each_text(n.metadata) AS m
        )
),
decided AS (
    SELECT
        a.id, a.payment, a.status, a.description, a.metadata, a.overdue, a.is_change,
        a.version + CASE WHEN a.is_change THEN 1 ELSE 0 END AS version,
        CASE WHEN a.is_change THEN greatest(a.updated_at, now()) ELSE a.updated_at END AS updated_at
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
        d.payment || jsonb_build_object(
            'description', d.description, 'metadata', d.metadata, 'version', d.version,
            'updated_at', d.updated_at, 'overdue', d.overdue
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
changed AS (
    UPDATE payments AS p
    SET
        description = d.description, metadata = d.metadata, version = d.version,
        updated_at = d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
    WHERE p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid AND d.is_change
),
logged AS (
    INSERT INTO payment_events (
        tenant_id, payment_id, seq, type, status_from, status_to, after, actor, request_id, key,
        created_at
    )
    SELECT
        :'tenant_id'::text, d.id, d.version, 'payment.updated', d.status, d.status,
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
        :'actor'::text, :'request_id'::text, :'key'::text, d.updated_at
    FROM claimed AS c CROSS JOIN decided AS d
    WHERE d.is_change
)
SELECT c.answer, c.expires_at
FROM claimed AS c;
