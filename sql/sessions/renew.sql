-- sessions/renew: the newest refresh token of a live session is used: the next one comes.
-- why: the common case in one statement. Of any number at once one is first; for the others, and
-- for every other token, there is no row here and sessions/renew_again decides.
-- params: tenant_id text, session_id uuid, secret_hash bytea, generation bigint, token_hash bytea,
--   idle_s int
-- kind: write | returns: 0..1 | locks: auth_sessions row
-- present: email
WITH renewed AS (
    UPDATE auth_sessions AS s
    SET
        generation = s.generation + 1,
        rotated_at = now(),
        retry_count = 0,
        last_used_at = now(),
        idle_expires_at = least(
            now() + make_interval(secs => :'idle_s'::int), s.absolute_expires_at
        )
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        s.tenant_id = :'tenant_id'::text
        AND s.id = :'session_id'::uuid
        AND s.secret_hash = :'secret_hash'::bytea
        AND s.generation = :'generation'::bigint
        AND s.revoked_at IS NULL
        AND s.idle_expires_at > now()
        AND s.absolute_expires_at > now()
        AND u.tenant_id = s.tenant_id
        AND u.id = s.user_id
        AND u.session_epoch = s.epoch
        AND u.status = 'active'
        AND t.status = 'active'
    RETURNING
        s.tenant_id, s.id, s.user_id, s.generation, s.auth_time, s.amr, s.idle_expires_at,
        u.email, u.email_verified_at, u.display_name, u.role, u.status, u.created_at
),

issued AS (
    INSERT INTO refresh_tokens (tenant_id, session_id, generation, token_hash)
    SELECT r.tenant_id, r.id, r.generation, :'token_hash'::bytea
    FROM renewed AS r
)

SELECT
    'renewed' AS outcome,
    r.id AS session_id,
    r.user_id,
    r.auth_time,
    r.amr,
    r.idle_expires_at AS expires_at,
    r.email,
    r.email_verified_at IS NOT NULL AS email_verified,
    r.display_name,
    r.role,
    r.status,
    r.created_at
FROM renewed AS r;
