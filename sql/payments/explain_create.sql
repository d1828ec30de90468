-- payments/explain_create: why a payment was not created: its key, its user, its currency, its reference.
-- why: always one row, read after the statement, so that the refusal names what is true now.
-- params: tenant_id text, scope text, key text, user_id uuid, currency text, reference text?
-- kind: read | returns: one
SELECT
    k.kind::text AS key_kind, k.operation AS key_operation, k.fingerprint AS key_fingerprint,
    k.fingerprint_version AS key_fingerprint_version, k.status AS key_status,
    k.answer AS key_answer, k.expires_at AS key_expires_at,
    exists(
        SELECT 1
        FROM users AS u
        WHERE u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid AND u.status = 'active'
    ) AS user_active,
    exists(
        SELECT 1
        FROM currencies AS c
        WHERE c.code = :'currency'::text AND c.exponent IS NOT NULL AND c.withdrawn_on IS NULL
    ) AS currency_payable,
    (
        SELECT p.id
        FROM payments AS p
        WHERE
            p.tenant_id = :'tenant_id'::text AND p.user_id = :'user_id'::uuid
            AND p.reference = :'reference'::text
    ) AS reference_id
FROM (SELECT 1 AS one) AS always
LEFT JOIN idempotency_keys AS k
    ON
        k.tenant_id = :'tenant_id'::text AND k.scope = :'scope'::text AND k.key = :'key'::text
        AND k.expires_at > now();
