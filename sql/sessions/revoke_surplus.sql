-- sessions/revoke_surplus: end the least recently used sessions beyond the limit of a user.
-- why: sent after a session was opened, so it sees those that were opened beside it too; whoever
-- comes last leaves the limit kept (A34). The order is the same for all: if each kept its own
-- session in any case, two that were opened at once would end each other.
-- params: tenant_id text, user_id uuid, session_limit int, audit_id uuid, request_id text
-- kind: write | returns: count | locks: auth_sessions rows, by id
WITH surplus AS (
    SELECT s.tenant_id, s.id
    FROM (
        SELECT
            l.tenant_id,
            l.id,
            row_number() OVER (ORDER BY l.last_used_at DESC, l.id DESC) AS place
        FROM auth_sessions AS l
        INNER JOIN users AS u ON l.tenant_id = u.tenant_id AND l.user_id = u.id
        WHERE
            l.tenant_id = :'tenant_id'::text
            AND l.user_id = :'user_id'::uuid
            AND l.revoked_at IS NULL
            AND l.idle_expires_at > now()
            AND l.absolute_expires_at > now()
            AND l.epoch = u.session_epoch
    ) AS s
    WHERE s.place > :'session_limit'::int
),

held AS (
    SELECT s.tenant_id, s.id
    FROM auth_sessions AS s
    INNER JOIN surplus AS x ON s.tenant_id = x.tenant_id AND s.id = x.id
    WHERE
        s.tenant_id = :'tenant_id'::text
        AND s.user_id = :'user_id'::uuid
        AND s.revoked_at IS NULL
    ORDER BY s.id
    FOR NO KEY UPDATE OF s
),

revoked AS (
    UPDATE auth_sessions AS s
    SET revoked_at = now(), revoked_reason = 'evicted'
    FROM held AS h
    WHERE s.tenant_id = h.tenant_id AND s.id = h.id
    RETURNING s.tenant_id, s.id, s.user_id
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, reason, request_id, details)
SELECT
    r.tenant_id,
    :'audit_id'::uuid,
    'user:' || r.user_id::text,
    r.user_id,
    'session_revoked',
    'evicted',
    :'request_id'::text,
    jsonb_build_object('sessions', jsonb_agg(r.id ORDER BY r.id))
FROM revoked AS r
GROUP BY r.tenant_id, r.user_id;
