-- sessions/reauthenticate: the password was proven once more within a live session.
-- why: only `auth_time` moves; the refresh token stays. What the password's proof leaves behind is
-- that of a login.
-- params: tenant_id text, user_id uuid, epoch int, session_id uuid, new_hash text?, new_algo text?,
--   new_params jsonb, hash_version int, pair_key bytea, device_key bytea, account_key bytea,
--   audit_id uuid, upgrade_audit_id uuid, address text?, user_agent text?, request_id text
-- kind: write | returns: 0..1 | locks: auth_sessions row, users row, then login_throttle rows
-- present: email
WITH proven AS (
    UPDATE auth_sessions AS s
    SET auth_time = now()
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        s.tenant_id = :'tenant_id'::text
        AND s.id = :'session_id'::uuid
        AND s.user_id = :'user_id'::uuid
        AND s.epoch = :'epoch'::int
        AND s.revoked_at IS NULL
        AND s.idle_expires_at > now()
        AND s.absolute_expires_at > now()
        AND u.tenant_id = s.tenant_id
        AND u.id = s.user_id
        AND u.session_epoch = s.epoch
        AND u.status = 'active'
        AND t.status = 'active'
    RETURNING
        s.tenant_id, s.id, s.user_id, s.auth_time, s.amr, s.idle_expires_at,
        u.email, u.email_verified_at, u.display_name, u.role, u.status, u.created_at
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
    FROM proven AS p
    WHERE
        u.tenant_id = p.tenant_id
        AND u.id = p.user_id
        AND u.password_hash_version = :'hash_version'::int
        AND :'new_hash'::text IS NOT NULL
    RETURNING u.tenant_id, u.id, u.password_algo
),

near AS (
    DELETE FROM login_throttle AS t
    USING proven AS p
    WHERE
        t.tenant_id = p.tenant_id
        AND t.bucket IN ('pair', 'device')
        AND t.key IN (:'pair_key'::bytea, :'device_key'::bytea)
        AND (SELECT count(g.id) FROM upgraded AS g) >= 0
    RETURNING t.bucket
),

far AS (
    DELETE FROM login_throttle AS t
    USING proven AS p
    WHERE
        t.tenant_id = p.tenant_id
        AND t.bucket = 'account'
        AND t.key = :'account_key'::bytea
        AND (SELECT count(n.bucket) FROM near AS n) >= 0
),

told AS (
    INSERT INTO audit_log (
        tenant_id, id, subject, user_id, session_id, event, ip, user_agent, request_id
    )
    SELECT
        p.tenant_id,
        :'audit_id'::uuid,
        'user:' || p.user_id::text,
        p.user_id,
        p.id,
        'reauthenticated',
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text
    FROM proven AS p
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
    'reauthenticated' AS outcome,
    p.id AS session_id,
    p.user_id,
    p.auth_time,
    p.amr,
    p.idle_expires_at AS expires_at,
    p.email,
    p.email_verified_at IS NOT NULL AS email_verified,
    p.display_name,
    p.role,
    p.status,
    p.created_at
FROM proven AS p;
