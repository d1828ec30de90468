-- users/get_by_email: the user with an address.
-- why: addresses are compared as services/users.py normalises them.
-- params: tenant_id text, email_norm text
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
WHERE u.tenant_id = :'tenant_id'::text AND u.email_norm = :'email_norm'::text;
