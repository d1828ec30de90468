-- users/list_page: users of a tenant, oldest first, the page after one id.
-- why: ids are UUIDv7, so the primary key is the order of creation and no sort is needed.
-- params: tenant_id text, after_id uuid, email_norm text?, status text?, row_limit int
-- kind: read | returns: many | present: email_verified
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
WHERE
    u.tenant_id = :'tenant_id'::text
    AND u.id > :'after_id'::uuid
    AND (:'email_norm'::text IS NULL OR u.email_norm = :'email_norm'::text)
    AND (:'status'::text IS NULL OR u.status = :'status'::text)
ORDER BY u.id
LIMIT :'row_limit'::int;
