-- users/create: a new active user without a password.
-- why: an unknown tenant or a taken address gives no row, which keeps the connection's prepared
-- statements; tenants/get then says which of the two it was.
-- params: tenant_id text, user_id uuid, email text, email_norm text, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: tenants row (key share)
WITH owner AS (
    SELECT t.tenant_id
    FROM tenants AS t
    WHERE t.tenant_id = :'tenant_id'::text
),

created AS (
    INSERT INTO users (tenant_id, id, email, email_norm)
    SELECT
        o.tenant_id,
        :'user_id'::uuid,
        :'email'::text,
        :'email_norm'::text
    FROM owner AS o
    ON CONFLICT (tenant_id, email_norm) DO NOTHING
    RETURNING tenant_id, id, email, status, created_at
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, user_id, event)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        c.id,
        'user_registered'
    FROM created AS c
)

SELECT
    c.tenant_id,
    c.id,
    c.email,
    c.status,
    c.created_at
FROM created AS c;
