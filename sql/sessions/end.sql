-- sessions/end: log out by a refresh token alone, of any generation.
-- why: whoever holds a token of the family may end it; twice is harmless and told once (A36).
-- params: tenant_id text, session_id uuid, secret_hash bytea, audit_id uuid, address text?,
--   user_agent text?, request_id text
-- kind: write | returns: count | locks: auth_sessions row
WITH ended AS (
    UPDATE auth_sessions AS s
    SET revoked_at = now(), revoked_reason = 'logged_out'
    WHERE
        s.tenant_id = :'tenant_id'::text
        AND s.id = :'session_id'::uuid
        AND s.secret_hash = :'secret_hash'::bytea
        AND s.revoked_at IS NULL
    RETURNING s.tenant_id, s.id, s.user_id, s.revoked_reason
)

INSERT INTO audit_log (
    tenant_id, id, subject, user_id, session_id, event, reason, ip, user_agent, request_id
)
SELECT
    e.tenant_id,
    :'audit_id'::uuid,
    'user:' || e.user_id::text,
    e.user_id,
    e.id,
    'session_revoked',
    e.revoked_reason,
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM ended AS e;
