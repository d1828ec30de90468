-- mirrored_payments/read: payments as new has them, in the terms that a store is given.
-- why: the mirror reads the rows after their marks, so it never sends an older one (D21).
-- params: tenant_id text, legacy_ids text[], payment_ids uuid[]
-- kind: read | returns: many
-- present: capture_method, status
SELECT
    p.id, p.legacy_id, p.version, p.user_id, u.legacy_id AS user_legacy_id, p.reference,
    p.amount_minor, p.currency, p.capture_method::text AS capture_method, p.gateway,
    p.gateway_reference, p.description, p.metadata, p.status::text AS status,
    p.end_reason::text AS end_reason, p.failure_code, p.failure_message, p.capture_before,
    p.authorized_minor, p.captured_minor, p.voided_minor, p.refunded_minor, p.disputed_minor,
    p.charged_back_minor, p.fee_minor, p.fee_refunded_minor, p.created_at, p.updated_at
FROM payments AS p
INNER JOIN users AS u ON p.tenant_id = u.tenant_id AND p.user_id = u.id
WHERE p.tenant_id = :'tenant_id'::text AND p.legacy_id = any(:'legacy_ids'::text[])
UNION ALL
SELECT
    p.id, p.legacy_id, p.version, p.user_id, u.legacy_id AS user_legacy_id, p.reference,
    p.amount_minor, p.currency, p.capture_method::text AS capture_method, p.gateway,
    p.gateway_reference, p.description, p.metadata, p.status::text AS status,
    p.end_reason::text AS end_reason, p.failure_code, p.failure_message, p.capture_before,
    p.authorized_minor, p.captured_minor, p.voided_minor, p.refunded_minor, p.disputed_minor,
    p.charged_back_minor, p.fee_minor, p.fee_refunded_minor, p.created_at, p.updated_at
FROM payments AS p
INNER JOIN users AS u ON p.tenant_id = u.tenant_id AND p.user_id = u.id
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = any(:'payment_ids'::uuid[])
    AND coalesce(p.legacy_id <> all(:'legacy_ids'::text[]), true);
