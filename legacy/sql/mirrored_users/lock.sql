-- mirrored_users/lock: a user as new has it, held until the transaction ends.
-- why: what new has and legacy cannot hold stays; a copy is compared before it is written.
--   By legacy id, or by ours where the two were never brought together.
-- params: tenant_id text, legacy_id text, user_id uuid
-- kind: write | returns: 0..1 | locks: users row | scan: tenant
-- present: email_verified
SELECT
    u.id, u.legacy_id, u.version, u.email, u.legacy_password_hash, u.status, u.display_name,
    u.role, u.email_verified_at IS NOT NULL AS email_verified, u.email_verified_at,
    u.created_at, u.updated_at
FROM users AS u
WHERE
    u.tenant_id = :'tenant_id'::text
    AND (
        u.legacy_id = :'legacy_id'::text
        OR (u.legacy_id IS NULL AND u.id = :'user_id'::uuid)
    )
LIMIT 1
FOR NO KEY UPDATE;
