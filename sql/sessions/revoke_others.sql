-- sessions/revoke_others: end all sessions of a user but the one that asks.
-- why: the epoch would end that one too, so the rows themselves are ended, in the order of their
-- ids like everywhere.
-- params: tenant_id text, user_id uuid, session_id uuid, audit_id uuid, address text?,
--   user_agent text?, request_id text
-- kind: write | returns: count | locks: auth_sessions rows, by id
WITH held AS (
    SELECT s.tenant_id, s.id
    FROM auth_sessions AS s
    WHERE
        s.tenant_id = :'tenant_id'::text
        AND s.user_id = :'user_id'::uuid
        AND s.id <> :'session_id'::uuid
        AND s.revoked_at IS NULL
    ORDER BY s.id
    FOR NO KEY UPDATE
),

revoked AS (
    UPDATE auth_sessions AS s
    SET revoked_at = now(), revoked_reason = 'logged_out'
    FROM held AS h
    WHERE s.tenant_id = h.tenant_id AND s.id = h.id
    RETURNING s.id
)

INSERT INTO audit_log (
    tenant_id, id, subject, user_id, session_id, event, reason, ip, user_agent, request_id, details
)
SELECT
    :'tenant_id'::text,
    :'audit_id'::uuid,
    'user:' || :'user_id'::uuid::text,
    :'user_id'::uuid,
    :'session_id'::uuid,
    'sessions_revoked_all',
    'others',
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text,
    jsonb_build_object('sessions', count(r.id))
FROM revoked AS r;
