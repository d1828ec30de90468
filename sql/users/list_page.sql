-- users/list_page: users of a tenant, oldest first, the page after one id.
-- why: ids are UUIDv7, so the primary key is the order of creation and no sort is needed.
-- params: tenant_id text, after_id uuid, row_limit int
-- kind: read | returns: many
SELECT
    u.tenant_id,
    u.id,
    u.email,
    u.status,
    u.created_at
FROM users AS u
WHERE u.tenant_id = :'tenant_id'::text AND u.id > :'after_id'::uuid
ORDER BY u.id
LIMIT :'row_limit'::int;
