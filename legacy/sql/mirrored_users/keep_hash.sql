-- mirrored_users/keep_hash: the bcrypt hash of a password that was just changed here.
-- why: in the transaction of the change, or a way back would revive the old password (D41). `raises`:
--   where new decides it is a change of its own, which the trigger wants to see.
-- params: tenant_id text, user_id uuid, password_hash text, legacy_hash text, raises boolean
-- kind: write | returns: count | locks: users row
UPDATE users AS u
SET legacy_password_hash = :'legacy_hash'::text, version = u.version + :'raises'::boolean::int
WHERE
    u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid
    AND u.password_hash = :'password_hash'::text;
