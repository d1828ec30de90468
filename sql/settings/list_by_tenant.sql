-- settings/list_by_tenant: what is set for a tenant, or with '-' for the whole installation.
-- why: values leave as text, so that a name which another release knows is no fault here.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT
    s.tenant_id,
    s.name,
    s.value #>> '{}' AS value,
    s.version,
    s.updated_by,
    s.updated_at
FROM settings AS s
WHERE s.tenant_id = :'tenant_id'::text
ORDER BY s.name;
