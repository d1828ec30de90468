-- sessions/revoke: end one session of a user; gives its reason, no row if it is nobody's or another's.
-- why: the owner is a condition here, so another user's session looks like none (A37).
-- params: tenant_id text, user_id uuid, session_id uuid, reason text, audit_id uuid, address text?,
--   user_agent text?, request_id text
-- kind: write | returns: 0..1 | locks: auth_sessions row
-- present: revoked_reason
WITH target AS (
    SELECT s.tenant_id, s.id, s.user_id, s.revoked_at, s.revoked_reason
    FROM auth_sessions AS s
    WHERE
        s.tenant_id = :'tenant_id'::text
        AND s.id = :'session_id'::uuid
        AND s.user_id = :'user_id'::uuid
    FOR NO KEY UPDATE
),

revoked AS (
    UPDATE auth_sessions AS s
    SET revoked_at = now(), revoked_reason = :'reason'::text
    FROM target
    WHERE
        s.tenant_id = target.tenant_id
        AND s.id = target.id
        AND target.revoked_at IS NULL
    RETURNING s.tenant_id, s.id, s.user_id, s.revoked_reason
),

told AS (
    INSERT INTO audit_log (
        tenant_id, id, subject, user_id, session_id, event, reason, ip, user_agent, request_id
    )
    SELECT
        r.tenant_id,
        :'audit_id'::uuid,
        'user:' || r.user_id::text,
        r.user_id,
        r.id,
        'session_revoked',
        r.revoked_reason,
        :'address'::text::inet,
        :'user_agent'::text,
        :'request_id'::text
    FROM revoked AS r
)

SELECT coalesce(r.revoked_reason, target.revoked_reason) AS revoked_reason
FROM target
LEFT JOIN revoked AS r ON target.tenant_id = r.tenant_id AND target.id = r.id;
