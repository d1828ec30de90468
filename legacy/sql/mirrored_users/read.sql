-- mirrored_users/read: users as new has them, in the terms that a store is given.
-- why: the mirror reads the rows after their marks, so it never sends an older one (D21).
-- params: tenant_id text, legacy_ids text[], user_ids uuid[]
-- kind: read | returns: many
-- present: email_verified
SELECT
    u.id, u.legacy_id, u.version, u.email, u.legacy_password_hash, u.status, u.display_name,
    u.role, u.email_verified_at IS NOT NULL AS email_verified, u.email_verified_at,
    u.created_at, u.updated_at
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.legacy_id = any(:'legacy_ids'::text[])
UNION ALL
SELECT
    u.id, u.legacy_id, u.version, u.email, u.legacy_password_hash, u.status, u.display_name,
    u.role, u.email_verified_at IS NOT NULL AS email_verified, u.email_verified_at,
    u.created_at, u.updated_at
FROM users AS u
WHERE
    u.tenant_id = :'tenant_id'::text AND u.id = any(:'user_ids'::uuid[])
    AND coalesce(u.legacy_id <> all(:'legacy_ids'::text[]), true);
