-- tenants/list_all: every tenant, by id.
-- why: only commands see more than one tenant; no HTTP credential reaches this file (A2).
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    t.tenant_id,
    t.name,
    t.status,
    t.registration_open,
    t.created_at
FROM tenants AS t
ORDER BY t.tenant_id;
