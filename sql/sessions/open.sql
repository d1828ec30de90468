-- sessions/open: a session for somebody whose password was right: all that a login leaves behind.
-- why: session, token, better hash, cleared buckets and audit commit together. The epoch is the one
-- that was read before the password was verified: a change that came in between gives no row here,
-- or a session that is dead from its start (A4). Somebody faster at the upgrade is no failure (A17).
-- params: tenant_id text, user_id uuid, epoch int, session_id uuid, secret_hash bytea,
--   token_hash bytea, device_label text?, idle_s int, absolute_s int, new_hash text?,
--   new_algo text?, new_params jsonb, hash_version int, pair_key bytea, device_key bytea,
--   account_key bytea, audit_id uuid, upgrade_audit_id uuid, address text?, user_agent text?,
--   request_id text
-- kind: write | returns: 0..1 | locks: users row, then login_throttle rows as sign_in/begin does
-- present: email
WITH owner AS (
    SELECT
        u.tenant_id,
        u.id,
        u.session_epoch,
        u.email,
        u.email_verified_at IS NOT NULL AS email_verified,
        u.display_name,
        u.role,
        u.status,
        u.created_at
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.session_epoch = :'epoch'::int
        AND u.status = 'active'
        AND t.status = 'active'
),

opened AS (
    INSERT INTO auth_sessions (
        tenant_id, id, user_id, epoch, secret_hash, ip, user_agent, device_label,
        idle_expires_at, absolute_expires_at
    )
    SELECT
        o.tenant_id,
        :'session_id'::uuid,
        o.id,
        o.session_epoch,
        :'secret_hash'::bytea,
        :'address'::text::inet,
        :'user_agent'::text,
        :'device_label'::text,
        now() + make_interval(secs => least(:'idle_s'::int, :'absolute_s'::int)),
        now() + make_interval(secs => :'absolute_s'::int)
    FROM owner AS o
    RETURNING tenant_id, id, user_id, generation, auth_time, amr, idle_expires_at
),

issued AS (
    INSERT INTO refresh_tokens (tenant_id, session_id, generation, token_hash)
    SELECT s.tenant_id, s.id, s.generation, :'token_hash'::bytea
    FROM opened AS s
),

upgraded AS (
    UPDATE users AS u
    SET
        password_hash = :'new_hash'::text,
        password_algo = :'new_algo'::text,
        password_params = :'new_params'::jsonb,
        password_hash_version = u.password_hash_version + 1,
        version = u.version + 1,
        updated_at = now()
    FROM opened AS s
    WHERE
        u.tenant_id = s.tenant_id
        AND u.id = s.user_id
        AND u.password_hash_version = :'hash_version'::int
        AND :'new_hash'::text IS NOT NULL
    RETURNING u.tenant_id, u.id, u.password_algo
),

near AS (
    DELETE FROM login_throttle AS t
    USING opened AS s
    WHERE
        t.tenant_id = s.tenant_id
        AND t.bucket IN ('pair', 'device')
        AND t.key IN (:'pair_key'::bytea, :'device_key'::bytea)
        AND (SELECT count(g.id) FROM upgraded AS g) >= 0
    RETURNING t.bucket
),

far AS (
    DELETE FROM login_throttle AS t
    USING opened AS s
    WHERE
        t.tenant_id = s.tenant_id
        AND t.bucket = 'account'
        AND t.key = :'account_key'::bytea
        AND (SELECT count(n.bucket) FROM near AS n) >= 0
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
        'login',
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text
    FROM opened AS s
),

told_upgrade AS (
    INSERT INTO audit_log (tenant_id, id, subject, user_id, event, request_id, details)
    SELECT
        g.tenant_id,
        :'upgrade_audit_id'::uuid,
        'user:' || g.id::text,
        g.id,
        'password_upgraded',
        :'request_id'::text,
        jsonb_build_object('algo', g.password_algo)
    FROM upgraded AS g
)

SELECT
    'opened' AS outcome,
    s.id AS session_id,
    s.user_id,
    s.auth_time,
    s.amr,
    s.idle_expires_at AS expires_at,
    o.email,
    o.email_verified,
    o.display_name,
    o.role,
    o.status,
    o.created_at
FROM opened AS s
INNER JOIN owner AS o ON s.tenant_id = o.tenant_id AND s.user_id = o.id;
