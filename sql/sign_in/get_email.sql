-- sign_in/get_email: the address of a user who is logged in and proves the password once more.
-- why: the attempt counts in the buckets of that address, like any other.
-- params: tenant_id text, user_id uuid
-- kind: read | returns: 0..1 | present: email_norm
SELECT u.email_norm
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid AND u.email_norm IS NOT NULL;
