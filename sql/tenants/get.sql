-- tenants/get: one tenant.
-- why: tells an unknown tenant from the other reasons why a create gave no row.
-- params: tenant_id text
-- kind: read | returns: 0..1
SELECT
    t.tenant_id,
    t.name,
    t.status,
    t.registration_open,
    t.created_at
FROM tenants AS t
WHERE t.tenant_id = :'tenant_id'::text;
