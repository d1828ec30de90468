-- emails/get_owner: whose an address is, and whether its owner may still be replaced.
-- why: a token names its user, so the user is looked up before the token is made. Who was never
-- let in and never proved the address has not used the account: it takes a newer password (A48).
-- params: tenant_id text, email_norm text
-- kind: read | returns: 0..1
SELECT
    u.id,
    u.status = 'active'
    AND u.role = 'user'
    AND u.email_verified_at IS NULL
    AND NOT EXISTS (
        SELECT FROM auth_sessions AS s WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id
    ) AS is_unproven
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.email_norm = :'email_norm'::text;
