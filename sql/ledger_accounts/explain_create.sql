-- ledger_accounts/explain_create: why an account was not opened, unless it was there.
-- why: always one row, read after the statement, so that the refusal names what is true now.
-- params: tenant_id text, currency text, owner_user_id text?
-- kind: read | returns: one
SELECT
    exists(
        SELECT 1
        FROM currencies AS c
        WHERE
            c.code = :'currency'::text::char(3)
            AND c.exponent IS NOT NULL AND c.withdrawn_on IS NULL
    ) AS currency_supported,
    :'owner_user_id'::text IS NULL OR EXISTS (
        SELECT 1
        FROM users AS u
        WHERE
            u.tenant_id = :'tenant_id'::text AND u.id = :'owner_user_id'::text::uuid
            AND u.status = 'active'
    ) AS owner_active
FROM (SELECT 1 AS one) AS always;
