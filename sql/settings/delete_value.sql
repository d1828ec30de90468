-- settings/delete_value: take a value away, so that what stands behind it counts again; audited.
-- why: one statement, so that nobody sees the one without the other.
-- params: tenant_id text, name text, audit_id uuid, subject text
-- kind: write | returns: count | locks: settings row
WITH gone AS (
    DELETE FROM settings AS s
    WHERE s.tenant_id = :'tenant_id'::text AND s.name = :'name'::text
    RETURNING s.tenant_id, s.name, s.value
)

INSERT INTO audit_log (tenant_id, id, subject, event, details)
SELECT
    g.tenant_id,
    :'audit_id'::uuid,
    :'subject'::text,
    'setting_removed',
    jsonb_build_object('name', g.name, 'value', g.value)
FROM gone AS g;
