-- mirrored_users/set_legacy_id: under which id legacy has, or will have, this user.
-- why: given once, before legacy is asked, so that a retry uses the same (D26). It is no change.
-- params: tenant_id text, user_id uuid, legacy_id text
-- kind: write | returns: count | locks: users row
UPDATE users AS u
SET legacy_id = :'legacy_id'::text
WHERE
    u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid AND u.legacy_id IS NULL;
