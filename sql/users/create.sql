-- users/create: a new active user, with a password or without one.
-- why: an unknown tenant or a taken address gives no row, which keeps the connection's prepared
-- statements; tenants/get then says which of the two it was. Who makes a user by hand vouches for
-- the address.
-- params: tenant_id text, user_id uuid, email text, email_norm text, display_name text?, role text,
--   password_hash text?, password_algo text?, password_params jsonb?, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: tenants row (key share) | present: email_verified
WITH owner AS (
    SELECT t.tenant_id
    FROM tenants AS t
    WHERE t.tenant_id = :'tenant_id'::text
),

created AS (
    INSERT INTO users (
        tenant_id, id, email, email_norm, email_verified_at, display_name, role, password_hash,
        password_algo, password_params, password_hash_version, password_changed_at
    )
    SELECT
        o.tenant_id,
        :'user_id'::uuid,
        :'email'::text,
        :'email_norm'::text,
        now(),
        :'display_name'::text,
        :'role'::text,
        :'password_hash'::text,
        :'password_algo'::text,
        :'password_params'::jsonb,
        num_nonnulls(:'password_hash'::text),
        CASE WHEN :'password_hash'::text IS NOT NULL THEN now() END
    FROM owner AS o
    ON CONFLICT (tenant_id, email_norm) DO NOTHING
    RETURNING tenant_id, id, email, email_verified_at, display_name, role, status, created_at
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, user_id, event, details)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        c.id,
        'user_registered',
        jsonb_build_object('role', c.role)
    FROM created AS c
)

SELECT
    c.tenant_id,
    c.id,
    c.email,
    c.email_verified_at IS NOT NULL AS email_verified,
    c.display_name,
    c.role,
    c.status,
    c.created_at
FROM created AS c;
