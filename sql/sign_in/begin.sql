-- sign_in/begin: count an attempt to prove a password, and read whose password it would be.
-- why: the attempt counts in the statement that lets it begin, so of any number of parallel guesses
-- no more than the limit are verified (A27). A known device of this very user has a bucket of its
-- own, so that guesses from elsewhere do not keep the owner out (A28). Unknown addresses count too.
-- A refused attempt is not counted again; the first refusal of a window is told.
-- params: tenant_id text, email_norm text, pair_key bytea, account_key bytea, device_key bytea,
--   device_user_id uuid, pair_limit int, account_limit int, event text, audit_id uuid,
--   address text?, user_agent text?, request_id text
-- kind: write | returns: one | locks: login_throttle rows: pair or device, then account
-- present: bucket, retry_after_s
WITH found AS (
    SELECT
        u.id,
        u.email,
        u.role,
        u.status,
        coalesce(u.password_hash, u.legacy_password_hash) AS stored_hash,
        u.password_hash_version,
        u.session_epoch,
        u.email_verified_at IS NOT NULL AS email_verified
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.email_norm = :'email_norm'::text
        AND t.status = 'active'
),

place AS (
    SELECT coalesce(bool_or(f.id = :'device_user_id'::uuid), false) AS is_known
    FROM found AS f
),

near AS (
    INSERT INTO login_throttle AS t (tenant_id, bucket, key, attempts)
    SELECT
        :'tenant_id'::text,
        CASE WHEN p.is_known THEN 'device' ELSE 'pair' END,
        CASE WHEN p.is_known THEN :'device_key'::bytea ELSE :'pair_key'::bytea END,
        1
    FROM place AS p
    ON CONFLICT (tenant_id, bucket, key) DO UPDATE
    SET
        window_start = CASE
            WHEN t.window_start <= now() - interval '15 minutes' THEN now() ELSE t.window_start
        END,
        attempts = CASE
            WHEN t.window_start <= now() - interval '15 minutes' THEN 1
            WHEN t.blocked_until > now() THEN t.attempts
            ELSE t.attempts + 1
        END,
        refused = CASE
            WHEN t.window_start <= now() - interval '15 minutes' THEN 0
            WHEN t.blocked_until > now() THEN t.refused + 1
            ELSE 0
        END,
        -- The attempt that reaches the limit is let through and closes the door behind it.
        blocked_until = CASE
            WHEN t.window_start <= now() - interval '15 minutes' THEN NULL
            WHEN t.blocked_until > now() OR t.attempts + 1 >= :'pair_limit'::int
                THEN t.window_start + interval '15 minutes'
        END
    RETURNING t.bucket, t.refused, t.blocked_until
),

far AS (
    INSERT INTO login_throttle AS t (tenant_id, bucket, key, attempts)
    SELECT :'tenant_id'::text, 'account', :'account_key'::bytea, 1
    FROM near AS n
    WHERE n.bucket = 'pair' AND n.refused = 0
    ON CONFLICT (tenant_id, bucket, key) DO UPDATE
    SET
        window_start = CASE
            WHEN t.window_start <= now() - interval '24 hours' THEN now() ELSE t.window_start
        END,
        attempts = CASE
            WHEN t.window_start <= now() - interval '24 hours' THEN 1
            WHEN t.blocked_until > now() THEN t.attempts
            ELSE t.attempts + 1
        END,
        refused = CASE
            WHEN t.window_start <= now() - interval '24 hours' THEN 0
            WHEN t.blocked_until > now() THEN t.refused + 1
            ELSE 0
        END,
        blocked_until = CASE
            WHEN t.window_start <= now() - interval '24 hours' THEN NULL
            WHEN t.blocked_until > now() THEN t.blocked_until
            -- 2^(n - limit) seconds, at most 15 minutes, which 2^10 exceeds.
            WHEN t.attempts + 1 >= :'account_limit'::int
                THEN now() + least(
                    interval '1 second' * (1 << least(t.attempts + 1 - :'account_limit'::int, 10)),
                    interval '15 minutes'
                )
        END
    RETURNING t.bucket, t.refused, t.blocked_until
),

decided AS (
    SELECT
        n.bucket,
        CASE WHEN n.refused > 0 THEN n.bucket WHEN a.refused > 0 THEN a.bucket END AS refused_by,
        CASE WHEN n.refused > 0 THEN n.refused ELSE a.refused END AS refused,
        CASE WHEN n.refused > 0 THEN n.blocked_until ELSE a.blocked_until END AS blocked_until
    FROM near AS n
    LEFT JOIN far AS a ON true
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
        'throttled',
        d.refused_by,
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text,
        CASE
            WHEN f.id IS NULL
                THEN jsonb_build_object('email_hmac', encode(:'account_key'::bytea, 'hex'))
            ELSE '{}'::jsonb
        END
    FROM decided AS d
    LEFT JOIN found AS f ON true
    WHERE d.refused = 1
)

SELECT
    f.id AS user_id,
    f.email,
    f.role,
    f.status,
    f.stored_hash,
    f.password_hash_version,
    f.session_epoch,
    f.email_verified,
    d.bucket,
    d.refused_by,
    CASE
        WHEN d.refused_by IS NULL THEN 0
        ELSE greatest(ceil(extract(EPOCH FROM d.blocked_until - now()))::int, 1)
    END AS retry_after_s
FROM decided AS d
LEFT JOIN found AS f ON true;
