-- users/get_hash: what a user's password is verified against, ours or that of an older store.
-- why: a new password is compared with it before it is stored; no row and no hash are the same.
-- params: tenant_id text, user_id uuid
-- kind: read | returns: 0..1
SELECT coalesce(u.password_hash, u.legacy_password_hash) AS stored_hash
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid;
