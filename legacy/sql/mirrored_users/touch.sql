-- mirrored_users/touch: raise the version of users that decide, and nothing else.
-- why: a follower that differs at the same version takes a row only if its version is higher (V5,
--   D23). The trigger marks it.
-- params: tenant_id text, legacy_ids text[]
-- kind: write | returns: count | locks: users rows
UPDATE users AS u
SET version = u.version + 1
WHERE u.tenant_id = :'tenant_id'::text AND u.legacy_id = any(:'legacy_ids'::text[]);
