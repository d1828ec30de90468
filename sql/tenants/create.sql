-- tenants/create: a new tenant, active, with registration closed.
-- why: a taken id gives no row, so nothing of the tenant that has it changes and nothing is audited.
-- params: tenant_id text, name text, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: none
WITH created AS (
    INSERT INTO tenants (tenant_id, name)
    VALUES (:'tenant_id'::text, :'name'::text)
    ON CONFLICT (tenant_id) DO NOTHING
    RETURNING tenant_id, name, status, registration_open, created_at
),

-- What a backdated posting and a closing of the book meet at.
settled AS (
    INSERT INTO ledger_settings (tenant_id, updated_by)
    SELECT
        c.tenant_id,
        :'subject'::text
    FROM created AS c
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'tenant_created'
    FROM created AS c
)

SELECT
    c.tenant_id,
    c.name,
    c.status,
    c.registration_open,
    c.created_at
FROM created AS c;
