-- emails/register_again: somebody registers an address that a user has.
-- why: the answer is that of a new address, so the mail tells what happened. Who has proved it, or
-- was ever let in, keeps everything. Who has not takes the newer password: of all who claim an
-- address the one who reads its mail wins; older links die with the token's row and the epoch.
-- params: tenant_id text, user_id uuid, display_name text?, password_hash text, password_algo text,
--   password_params jsonb, token_hash bytea, nonce bytea, master_key_id text, ttl_s int,
--   mail_key bytea, mail_limit int, mail_id uuid, audit_id uuid, address text?, user_agent text?,
--   request_id text
-- kind: write | returns: count | locks: users row, login_throttle row, one_time_tokens row
WITH target AS (
    SELECT
        u.tenant_id,
        u.id,
        u.email,
        u.status,
        u.status = 'active'
        AND u.role = 'user'
        AND u.email_verified_at IS NULL
        AND NOT EXISTS (
            SELECT FROM auth_sessions AS s WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id
        ) AS is_unproven
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND t.status = 'active'
        AND t.registration_open
    FOR NO KEY UPDATE OF u
),

changed AS (
    UPDATE users AS u
    SET
        display_name = :'display_name'::text,
        password_hash = :'password_hash'::text,
        password_algo = :'password_algo'::text,
        password_params = :'password_params'::jsonb,
        legacy_password_hash = NULL,
        password_hash_version = u.password_hash_version + 1,
        password_changed_at = now(),
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM target AS g
    WHERE u.tenant_id = g.tenant_id AND u.id = g.id AND g.is_unproven
    RETURNING u.tenant_id, u.id, u.session_epoch, u.email
),

counted AS (
    INSERT INTO login_throttle AS t (tenant_id, bucket, key, attempts)
    SELECT g.tenant_id, 'mail', :'mail_key'::bytea, 1
    FROM target AS g
    WHERE (SELECT count(c.id) FROM changed AS c) >= 0
    ON CONFLICT (tenant_id, bucket, key) DO UPDATE
    SET
        attempts = CASE
            WHEN t.window_start <= now() - interval '1 hour' THEN 1 ELSE t.attempts + 1
        END,
        window_start = CASE
            WHEN t.window_start <= now() - interval '1 hour' THEN now() ELSE t.window_start
        END
    RETURNING t.attempts
),

asked AS (
    INSERT INTO one_time_tokens AS o (
        tenant_id, user_id, purpose, token_hash, nonce, master_key_id, epoch, sent_to, expires_at
    )
    SELECT
        c.tenant_id,
        c.id,
        'verify',
        :'token_hash'::bytea,
        :'nonce'::bytea,
        :'master_key_id'::text,
        c.session_epoch,
        c.email,
        now() + make_interval(secs => :'ttl_s'::int)
    FROM changed AS c
    ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE
    SET
        token_hash = excluded.token_hash,
        nonce = excluded.nonce,
        master_key_id = excluded.master_key_id,
        epoch = excluded.epoch,
        sent_to = excluded.sent_to,
        expires_at = excluded.expires_at,
        consumed_at = NULL
    RETURNING o.purpose
),

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, purpose, to_address)
    SELECT
        g.tenant_id,
        :'mail_id'::uuid,
        g.id,
        coalesce(a.purpose, 'already_registered'),
        a.purpose,
        g.email
    FROM target AS g
    INNER JOIN counted AS c ON c.attempts <= :'mail_limit'::int
    LEFT JOIN asked AS a ON true
    WHERE g.status = 'active'
)

INSERT INTO audit_log (
    tenant_id, id, user_id, event, outcome, reason, ip, user_agent, request_id
)
SELECT
    g.tenant_id,
    :'audit_id'::uuid,
    g.id,
    'user_registered',
    CASE WHEN g.is_unproven THEN 'ok' ELSE 'failed' END,
    CASE WHEN g.is_unproven THEN 'again' ELSE 'email_taken' END,
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM target AS g;
