-- sessions/open_changed: a new password of one's own choice; all sessions end, and a new one opens.
-- why: hash, epoch, session, audit, cleared buckets and notice commit together. The epoch that was
-- read before the old password was verified guards it, not the hash version: a login that upgrades
-- the hash meanwhile does not make the old password wrong (A17). The hash of an older store goes too,
-- or a way back to that store would revive the old password.
-- params: tenant_id text, user_id uuid, epoch int, password_hash text, password_algo text,
--   password_params jsonb, session_id uuid, secret_hash bytea, token_hash bytea,
--   device_label text?, idle_s int, absolute_s int, pair_key bytea, device_key bytea,
--   account_key bytea, mail_id uuid, audit_id uuid, address text?, user_agent text?,
--   request_id text
-- kind: write | returns: 0..1 | locks: users row, then login_throttle rows as sign_in/begin does
-- present: email
WITH changed AS (
    UPDATE users AS u
    SET
        password_hash = :'password_hash'::text,
        password_algo = :'password_algo'::text,
        password_params = :'password_params'::jsonb,
        legacy_password_hash = NULL,
        password_hash_version = u.password_hash_version + 1,
        password_changed_at = now(),
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM tenants AS t
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.session_epoch = :'epoch'::int
        AND u.status = 'active'
        AND t.tenant_id = u.tenant_id
        AND t.status = 'active'
    RETURNING
        u.tenant_id, u.id, u.session_epoch, u.email, u.email_verified_at, u.display_name, u.role,
        u.status, u.created_at
),

opened AS (
    INSERT INTO auth_sessions (
        tenant_id, id, user_id, epoch, secret_hash, ip, user_agent, device_label,
        idle_expires_at, absolute_expires_at
    )
    SELECT
        c.tenant_id,
        :'session_id'::uuid,
        c.id,
        c.session_epoch,
        :'secret_hash'::bytea,
        :'address'::text::inet,
        :'user_agent'::text,
        :'device_label'::text,
        now() + make_interval(secs => least(:'idle_s'::int, :'absolute_s'::int)),
        now() + make_interval(secs => :'absolute_s'::int)
    FROM changed AS c
    RETURNING tenant_id, id, user_id, generation, auth_time, amr, idle_expires_at
),

issued AS (
    INSERT INTO refresh_tokens (tenant_id, session_id, generation, token_hash)
    SELECT s.tenant_id, s.id, s.generation, :'token_hash'::bytea
    FROM opened AS s
),

near AS (
    DELETE FROM login_throttle AS t
    USING opened AS s
    WHERE
        t.tenant_id = s.tenant_id
        AND t.bucket IN ('pair', 'device')
        AND t.key IN (:'pair_key'::bytea, :'device_key'::bytea)
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

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, to_address)
    SELECT c.tenant_id, :'mail_id'::uuid, c.id, 'password_changed', c.email
    FROM changed AS c
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
        'password_changed',
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
    c.email,
    c.email_verified_at IS NOT NULL AS email_verified,
    c.display_name,
    c.role,
    c.status,
    c.created_at
FROM opened AS s
INNER JOIN changed AS c ON s.tenant_id = c.tenant_id AND s.user_id = c.id;
