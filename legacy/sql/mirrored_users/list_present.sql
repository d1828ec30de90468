-- mirrored_users/list_present: which of these legacy ids new has.
-- why: what was neither inserted nor is there hit another unique key (D29).
-- params: tenant_id text, legacy_ids text[]
-- kind: read | returns: many
SELECT u.legacy_id
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.legacy_id = any(:'legacy_ids'::text[]);
