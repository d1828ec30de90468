-- one_time_tokens/request: a link by mail: the token's row, the mail to send, the audit row.
-- why: known and unknown addresses count in the same bucket and write the same audit row, so both
-- commit and take the same time (A48). A newer request replaces the older link. Beyond 5 mails an
-- hour there is neither a mail nor a new link. `new_email`: the address that an e-mail change
-- proves; without it the user's own.
-- params: tenant_id text, user_id uuid, purpose text, new_email text?, token_hash bytea,
--   nonce bytea, master_key_id text, ttl_s int, mail_key bytea, mail_limit int, mail_id uuid,
--   template text, event text, audit_id uuid, address text?, user_agent text?, request_id text
-- kind: write | returns: one | locks: login_throttle row, then one_time_tokens row
WITH found AS (
    SELECT u.tenant_id, u.id, u.session_epoch, coalesce(:'new_email'::text, u.email) AS sent_to
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.status = 'active'
        AND t.status = 'active'
        AND (:'purpose'::text <> 'verify' OR u.email_verified_at IS NULL)
),

counted AS (
    INSERT INTO login_throttle AS t (tenant_id, bucket, key, attempts)
    VALUES (:'tenant_id'::text, 'mail', :'mail_key'::bytea, 1)
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
        f.tenant_id,
        f.id,
        :'purpose'::text,
        :'token_hash'::bytea,
        :'nonce'::bytea,
        :'master_key_id'::text,
        f.session_epoch,
        f.sent_to,
        now() + make_interval(secs => :'ttl_s'::int)
    FROM found AS f
    INNER JOIN counted AS c ON c.attempts <= :'mail_limit'::int
    ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE
    SET
        token_hash = excluded.token_hash,
        nonce = excluded.nonce,
        master_key_id = excluded.master_key_id,
        epoch = excluded.epoch,
        sent_to = excluded.sent_to,
        expires_at = excluded.expires_at,
        consumed_at = NULL
    RETURNING o.tenant_id, o.user_id, o.purpose, o.sent_to
),

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, purpose, to_address)
    SELECT a.tenant_id, :'mail_id'::uuid, a.user_id, :'template'::text, a.purpose, a.sent_to
    FROM asked AS a
    RETURNING id
),

told AS (
    INSERT INTO audit_log (
        tenant_id, id, user_id, event, outcome, reason, ip, user_agent, request_id, details
    )
    SELECT
        :'tenant_id'::text,
        :'audit_id'::uuid,
        f.id,
        :'event'::text,
        CASE
            WHEN c.attempts > :'mail_limit'::int THEN 'throttled'
            WHEN f.id IS NULL THEN 'failed'
            ELSE 'ok'
        END,
        CASE WHEN c.attempts > :'mail_limit'::int THEN 'mail' WHEN f.id IS NULL THEN 'nobody' END,
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text,
        CASE
            WHEN f.id IS NULL
                THEN jsonb_build_object('email_hmac', encode(:'mail_key'::bytea, 'hex'))
            ELSE '{}'::jsonb
        END
    FROM counted AS c
    LEFT JOIN found AS f ON true
)

SELECT count(m.id) AS mails
FROM mailed AS m;
