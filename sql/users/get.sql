-- users/get: the user with an id.
-- why: nobody is found by the id of another tenant (A2).
-- params: tenant_id text, user_id uuid
-- kind: read | returns: 0..1 | present: email_verified
SELECT
    u.tenant_id,
    u.id,
    u.email,
    u.email_verified_at IS NOT NULL AS email_verified,
    u.display_name,
    u.role,
    u.status,
    u.created_at
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid;
