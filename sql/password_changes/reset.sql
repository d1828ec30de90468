-- password_changes/reset: a new password by a link; all sessions end, nobody is logged in.
-- why: the statement that stores the hash claims the link, so of any number of uses one counts
-- (A47). The link proves the address too. What was counted against the account is forgotten.
-- params: tenant_id text, user_id uuid, token_hash bytea, password_hash text, password_algo text,
--   password_params jsonb, pair_key bytea, account_key bytea, mail_id uuid, audit_id uuid,
--   address text?, user_agent text?, request_id text
-- kind: write | returns: count | locks: users row, one_time_tokens row, then login_throttle rows
WITH target AS (
    SELECT u.tenant_id, u.id, u.session_epoch
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.status = 'active'
        AND t.status = 'active'
    FOR NO KEY UPDATE OF u
),

claimed AS (
    UPDATE one_time_tokens AS o
    SET consumed_at = now()
    FROM target AS g
    WHERE
        o.tenant_id = g.tenant_id
        AND o.user_id = g.id
        AND o.purpose = 'reset'
        AND o.token_hash = :'token_hash'::bytea
        AND o.epoch = g.session_epoch
        AND o.consumed_at IS NULL
        AND o.expires_at > now()
    RETURNING o.tenant_id, o.user_id, o.sent_to
),

changed AS (
    UPDATE users AS u
    SET
        password_hash = :'password_hash'::text,
        password_algo = :'password_algo'::text,
        password_params = :'password_params'::jsonb,
        legacy_password_hash = NULL,
        password_hash_version = u.password_hash_version + 1,
        password_changed_at = now(),
        email_verified_at = CASE
            WHEN u.email = c.sent_to THEN coalesce(u.email_verified_at, now())
            ELSE u.email_verified_at
        END,
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM claimed AS c
    WHERE u.tenant_id = c.tenant_id AND u.id = c.user_id
    RETURNING u.tenant_id, u.id, u.email
),

near AS (
    DELETE FROM login_throttle AS t
    USING changed AS c
    WHERE t.tenant_id = c.tenant_id AND t.bucket = 'pair' AND t.key = :'pair_key'::bytea
    RETURNING t.bucket
),

far AS (
    DELETE FROM login_throttle AS t
    USING changed AS c
    WHERE
        t.tenant_id = c.tenant_id
        AND t.bucket = 'account'
        AND t.key = :'account_key'::bytea
        AND (SELECT count(n.bucket) FROM near AS n) >= 0
),

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, to_address)
    SELECT c.tenant_id, :'mail_id'::uuid, c.id, 'password_reset', c.email
    FROM changed AS c
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, ip, user_agent, request_id)
SELECT
    c.tenant_id,
    :'audit_id'::uuid,
    'user:' || c.id::text,
    c.id,
    'password_reset',
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM changed AS c;
