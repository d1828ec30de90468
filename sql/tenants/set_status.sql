-- tenants/set_status: suspend or resume; gives the tenant as it is now, no row if there is none.
-- why: the status it already has is no change, so asking twice is harmless and audited once.
-- params: tenant_id text, status text, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: tenants row
WITH target AS (
    SELECT
        t.tenant_id,
        t.name,
        t.status,
        t.registration_open,
        t.created_at
    FROM tenants AS t
    WHERE t.tenant_id = :'tenant_id'::text
    FOR NO KEY UPDATE
),

changed AS (
    UPDATE tenants AS t
    SET status = :'status'::text
    FROM target
    WHERE t.tenant_id = target.tenant_id AND target.status <> :'status'::text
    RETURNING t.tenant_id, target.status AS status_from, t.status AS status_to
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, details)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'tenant_status_changed',
        jsonb_build_object('from', c.status_from, 'to', c.status_to)
    FROM changed AS c
)

SELECT
    target.tenant_id,
    target.name,
    :'status'::text AS status,
    target.registration_open,
    target.created_at
FROM target;
