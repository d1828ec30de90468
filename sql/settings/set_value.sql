-- settings/set_value: set a value for a tenant, or with '-' for the whole installation; audited.
-- why: the value it has already is no change, so asking twice is harmless and audited once.
-- params: tenant_id text, name text, value text, audit_id uuid, subject text
-- kind: write | returns: count | locks: settings row
WITH changed AS (
    INSERT INTO settings AS s (tenant_id, name, value, updated_by)
    VALUES (:'tenant_id'::text, :'name'::text, to_jsonb(:'value'::text), :'subject'::text)
    ON CONFLICT (tenant_id, name) DO UPDATE
        SET
            value = excluded.value,
            version = s.version + 1,
            updated_by = excluded.updated_by,
            updated_at = now()
        WHERE s.value IS DISTINCT FROM excluded.value
    RETURNING s.tenant_id, s.name, s.version
)

INSERT INTO audit_log (tenant_id, id, subject, event, details)
SELECT
    c.tenant_id,
    :'audit_id'::uuid,
    :'subject'::text,
    'setting_changed',
    jsonb_build_object('name', c.name, 'value', :'value'::text, 'version', c.version)
FROM changed AS c;
