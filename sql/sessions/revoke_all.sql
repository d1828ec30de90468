-- sessions/revoke_all: end all sessions of a user, those that open this moment included.
-- why: one counter ends what no list of rows could name: a login in flight has read the old epoch
-- (A4). Rows of sessions stay as they are.
-- params: tenant_id text, user_id uuid, subject text, reason text, audit_id uuid, address text?,
--   user_agent text?, request_id text
-- kind: write | returns: count | locks: users row
WITH ended AS (
    UPDATE users AS u
    SET session_epoch = u.session_epoch + 1, version = u.version + 1, updated_at = now()
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.status <> 'deleted'
    RETURNING u.tenant_id, u.id
)

INSERT INTO audit_log (
    tenant_id, id, subject, user_id, event, reason, ip, user_agent, request_id
)
SELECT
    e.tenant_id,
    :'audit_id'::uuid,
    :'subject'::text,
    e.id,
    'sessions_revoked_all',
    :'reason'::text,
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM ended AS e;
