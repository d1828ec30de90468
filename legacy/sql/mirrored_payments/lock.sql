-- mirrored_payments/lock: a payment as new has it, held until the transaction ends.
-- why: what new has and legacy cannot hold stays, and the ledger gets the difference (D24).
--   By legacy id, or by ours where the two were never brought together.
-- params: tenant_id text, legacy_id text, payment_id uuid
-- kind: write | returns: 0..1 | locks: payments row | scan: tenant
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
WHERE
    p.tenant_id = :'tenant_id'::text
    AND (
        p.legacy_id = :'legacy_id'::text
        OR (p.legacy_id IS NULL AND p.id = :'payment_id'::uuid)
    )
LIMIT 1
FOR NO KEY UPDATE OF p;
