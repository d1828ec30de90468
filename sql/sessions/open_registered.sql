-- sessions/open_registered: a new user with a password, and a first session.
-- why: user, session, token and audit commit together. A closed or unknown tenant and a taken
-- address give no row, which keeps the connection's prepared statements.
-- params: tenant_id text, user_id uuid, email text, email_norm text, display_name text?,
--   password_hash text, password_algo text, password_params jsonb, session_id uuid,
--   secret_hash bytea, token_hash bytea, device_label text?, idle_s int, absolute_s int,
--   audit_id uuid, address text?, user_agent text?, request_id text
-- kind: write | returns: 0..1 | locks: tenants row (key share)
-- present: email
WITH made AS (
    INSERT INTO users (
        tenant_id, id, email, email_norm, display_name,
        password_hash, password_algo, password_params, password_hash_version, password_changed_at
    )
    SELECT
        t.tenant_id,
        :'user_id'::uuid,
        :'email'::text,
        :'email_norm'::text,
        :'display_name'::text,
        :'password_hash'::text,
        :'password_algo'::text,
        :'password_params'::jsonb,
        1,
        now()
    FROM tenants AS t
    WHERE t.tenant_id = :'tenant_id'::text AND t.status = 'active' AND t.registration_open
    ON CONFLICT (tenant_id, email_norm) DO NOTHING
    RETURNING tenant_id, id, session_epoch, email, display_name, role, status, created_at
),

opened AS (
    INSERT INTO auth_sessions (
        tenant_id, id, user_id, epoch, secret_hash, ip, user_agent, device_label,
        idle_expires_at, absolute_expires_at
    )
    SELECT
        m.tenant_id,
        :'session_id'::uuid,
        m.id,
        m.session_epoch,
        :'secret_hash'::bytea,
        :'address'::text::inet,
        :'user_agent'::text,
        :'device_label'::text,
        now() + make_interval(secs => least(:'idle_s'::int, :'absolute_s'::int)),
        now() + make_interval(secs => :'absolute_s'::int)
    FROM made AS m
    RETURNING tenant_id, id, user_id, generation, auth_time, amr, idle_expires_at
),

issued AS (
    INSERT INTO refresh_tokens (tenant_id, session_id, generation, token_hash)
    SELECT s.tenant_id, s.id, s.generation, :'token_hash'::bytea
    FROM opened AS s
),

told AS (
    INSERT INTO audit_log (
        tenant_id, id, subject, user_id, session_id, event, ip, user_agent, request_id
    )
    SELECT
        s.tenant_id,
        :'audit_id'::uuid,
        'user:' || s.user_id::text,
        s.user_id,
        s.id,
        'user_registered',
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text
    FROM opened AS s
)

SELECT
    'opened' AS outcome,
    s.id AS session_id,
    s.user_id,
    s.auth_time,
    s.amr,
    s.idle_expires_at AS expires_at,
    m.email,
    false AS email_verified,
    m.display_name,
    m.role,
    m.status,
    m.created_at
FROM opened AS s
INNER JOIN made AS m ON s.tenant_id = m.tenant_id AND s.user_id = m.id;
