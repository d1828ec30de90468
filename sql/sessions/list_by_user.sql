-- sessions/list_by_user: live sessions of a user, newest first, the page after one id.
-- why: ids are UUIDv7, so they tell the order of log-ins; a user has few, so they are sorted here.
-- params: tenant_id text, user_id uuid, before_id uuid, row_limit int
-- kind: read | returns: many
SELECT
    s.id,
    s.device_label,
    s.user_agent,
    host(s.ip) AS ip,
    s.amr,
    s.created_at,
    s.last_used_at,
    s.idle_expires_at AS expires_at
FROM auth_sessions AS s
INNER JOIN users AS u ON s.tenant_id = u.tenant_id AND s.user_id = u.id
WHERE
    s.tenant_id = :'tenant_id'::text
    AND s.user_id = :'user_id'::uuid
    AND s.id < :'before_id'::uuid
    AND s.revoked_at IS NULL
    AND s.idle_expires_at > now()
    AND s.absolute_expires_at > now()
    AND s.epoch = u.session_epoch
ORDER BY s.id DESC
LIMIT :'row_limit'::int;
