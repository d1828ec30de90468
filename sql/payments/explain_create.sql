-- payments/explain_create: why a payment was not created: its user, its currency, its reference.
-- why: always one row, read after the statement, so that the refusal names what is true now.
-- params: tenant_id text, user_id uuid, currency text, reference text?
-- kind: read | returns: one
SELECT
    exists(
        SELECT 1
        FROM users AS u
        WHERE u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid AND u.status = 'active'
    ) AS user_active,
    exists(
        SELECT 1
        FROM currencies AS c
        WHERE
            c.code = :'currency'::text::char(3) AND c.code = :'currency'::text
            AND c.exponent IS NOT NULL AND c.withdrawn_on IS NULL
    ) AS currency_payable,
    (
        SELECT p.id
        FROM payments AS p
        WHERE
            p.tenant_id = :'tenant_id'::text AND p.user_id = :'user_id'::uuid
            AND p.reference = :'reference'::text
    ) AS reference_id
FROM (SELECT 1 AS one) AS always;
