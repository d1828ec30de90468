-- emails/register: a new user whose address is to be proven by a link before the first login.
-- why: user, link, mail and audit commit together. A closed tenant and a taken address give no row.
-- params: tenant_id text, user_id uuid, email text, email_norm text, display_name text?,
--   password_hash text, password_algo text, password_params jsonb, token_hash bytea, nonce bytea,
--   master_key_id text, ttl_s int, mail_key bytea, mail_limit int, mail_id uuid, audit_id uuid,
--   address text?, user_agent text?, request_id text
-- kind: write | returns: count | locks: tenants row (key share), login_throttle row
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
    RETURNING tenant_id, id, session_epoch, email
),

counted AS (
    INSERT INTO login_throttle AS t (tenant_id, bucket, key, attempts)
    SELECT m.tenant_id, 'mail', :'mail_key'::bytea, 1
    FROM made AS m
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
    INSERT INTO one_time_tokens (
        tenant_id, user_id, purpose, token_hash, nonce, master_key_id, epoch, sent_to, expires_at
    )
    SELECT
        m.tenant_id,
        m.id,
        'verify',
        :'token_hash'::bytea,
        :'nonce'::bytea,
        :'master_key_id'::text,
        m.session_epoch,
        m.email,
        now() + make_interval(secs => :'ttl_s'::int)
    FROM made AS m
    RETURNING tenant_id, user_id, purpose, sent_to
),

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, purpose, to_address)
    SELECT a.tenant_id, :'mail_id'::uuid, a.user_id, 'verify', a.purpose, a.sent_to
    FROM asked AS a
    INNER JOIN counted AS c ON c.attempts <= :'mail_limit'::int
)

INSERT INTO audit_log (
    tenant_id, id, subject, user_id, event, ip, user_agent, request_id
)
SELECT
    m.tenant_id,
    :'audit_id'::uuid,
    'user:' || m.id::text,
    m.id,
    'user_registered',
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM made AS m;
