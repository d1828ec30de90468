-- sessions/renew_again: a refresh token that is not the newest of a live session: what it is worth.
-- why: decided under the session's row lock, by generations, which are integers: clocks only bound
-- how long a lost answer may be asked for again. Reuse ends the family here and commits; only then
-- is it answered, so no error can undo it (A32). `current`: what forbade it has gone, try again.
-- params: tenant_id text, session_id uuid, secret_hash bytea, generation bigint, grace_s int,
--   audit_id uuid, mail_id uuid, address text?, user_agent text?, request_id text
-- kind: write | returns: 0..1 | locks: auth_sessions row
-- present: email
WITH held AS (
    SELECT
        s.tenant_id,
        s.id,
        s.user_id,
        s.epoch,
        s.generation,
        s.secret_hash,
        s.rotated_at,
        s.auth_time,
        s.amr,
        s.idle_expires_at,
        s.absolute_expires_at,
        s.revoked_at,
        t.status AS tenant_status,
        u.session_epoch,
        u.email,
        u.email_verified_at,
        u.display_name,
        u.role,
        u.status,
        u.created_at
    FROM auth_sessions AS s
    INNER JOIN users AS u ON s.tenant_id = u.tenant_id AND s.user_id = u.id
    INNER JOIN tenants AS t ON s.tenant_id = t.tenant_id
    WHERE s.tenant_id = :'tenant_id'::text AND s.id = :'session_id'::uuid
    FOR NO KEY UPDATE OF s
),

decided AS (
    SELECT
        h.tenant_id,
        h.id,
        CASE
            WHEN h.secret_hash <> :'secret_hash'::bytea OR :'generation'::bigint > h.generation
                THEN 'invalid'
            WHEN
                h.revoked_at IS NOT NULL
                OR h.epoch <> h.session_epoch
                OR h.status <> 'active'
                OR h.tenant_status <> 'active'
                THEN 'revoked'
            WHEN h.idle_expires_at <= now() OR h.absolute_expires_at <= now() THEN 'expired'
            WHEN :'generation'::bigint = h.generation THEN 'current'
            WHEN
                :'generation'::bigint = h.generation - 1
                AND now() <= h.rotated_at + make_interval(secs => :'grace_s'::int)
                THEN 'retried'
            ELSE 'reused'
        END AS outcome
    FROM held AS h
),

marked AS (
    UPDATE auth_sessions AS s
    SET
        retry_count = s.retry_count + CASE d.outcome WHEN 'retried' THEN 1 ELSE 0 END,
        revoked_at = CASE d.outcome WHEN 'reused' THEN now() END,
        revoked_reason = CASE d.outcome WHEN 'reused' THEN 'reuse_detected' END
    FROM decided AS d
    WHERE s.tenant_id = d.tenant_id AND s.id = d.id AND d.outcome IN ('retried', 'reused')
    RETURNING s.tenant_id, s.id, s.user_id, d.outcome
),

told AS (
    INSERT INTO audit_log (
        tenant_id, id, subject, user_id, session_id, event, outcome, ip, user_agent, request_id,
        details
    )
    SELECT
        m.tenant_id,
        :'audit_id'::uuid,
        'user:' || m.user_id::text,
        m.user_id,
        m.id,
        CASE m.outcome WHEN 'reused' THEN 'refresh_reuse_detected' ELSE 'refresh_retried' END,
        CASE m.outcome WHEN 'reused' THEN 'failed' ELSE 'ok' END,
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text,
        jsonb_build_object('generation', :'generation'::bigint)
    FROM marked AS m
),

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, to_address)
    SELECT m.tenant_id, :'mail_id'::uuid, m.user_id, 'refresh_reuse_detected', h.email
    FROM marked AS m
    INNER JOIN held AS h ON m.tenant_id = h.tenant_id AND m.id = h.id
    WHERE m.outcome = 'reused' AND h.email IS NOT NULL
)

SELECT
    d.outcome,
    h.id AS session_id,
    h.user_id,
    h.auth_time,
    h.amr,
    h.idle_expires_at AS expires_at,
    coalesce(h.email, '') AS email,
    h.email_verified_at IS NOT NULL AS email_verified,
    h.display_name,
    h.role,
    h.status,
    h.created_at
FROM decided AS d
INNER JOIN held AS h ON d.tenant_id = h.tenant_id AND d.id = h.id;
