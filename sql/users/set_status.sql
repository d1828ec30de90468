-- users/set_status: disable a user or let one in again; gives the user as it is now.
-- why: the epoch ends the user's sessions in the same UPDATE (A4). The tenant's operators are locked
-- with the user and in one order: of two that disable each other one is refused. What is so already
-- stays as it is, unaudited. `is_last_operator`: nothing was changed for that reason.
-- params: tenant_id text, user_id uuid, status text, reason text?, audit_id uuid, subject text,
--   address text?, request_id text
-- kind: write | returns: 0..1 | locks: users rows: this one and the operators, by id
-- present: email_verified, is_last_operator
WITH locked AS (
    SELECT
        u.id, u.email, u.email_verified_at, u.display_name, u.role, u.status, u.created_at
    FROM users AS u
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND (u.id = :'user_id'::uuid OR (u.role = 'operator' AND u.status = 'active'))
    ORDER BY u.id
    FOR NO KEY UPDATE
),

target AS (
    SELECT
        l.id, l.email, l.email_verified_at, l.display_name, l.role, l.status, l.created_at,
        :'status'::text <> 'active' AND l.role = 'operator' AND l.status = 'active'
        AND NOT EXISTS (
            SELECT FROM locked AS o
            WHERE o.id <> l.id AND o.role = 'operator' AND o.status = 'active'
        ) AS is_last_operator
    FROM locked AS l
    WHERE l.id = :'user_id'::uuid AND l.status <> 'deleted'
),

changed AS (
    UPDATE users AS u
    SET
        status = :'status'::text,
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM target AS t
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = t.id
        AND t.status <> :'status'::text
        AND NOT t.is_last_operator
    RETURNING u.tenant_id, u.id, u.status
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, user_id, event, reason, ip, request_id, details)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        c.id,
        'user_status_changed',
        :'reason'::text,
        :'address'::text::inet,
        nullif(:'request_id'::text, '-'),
        jsonb_build_object('status', c.status)
    FROM changed AS c
)

SELECT
    :'tenant_id'::text AS tenant_id,
    t.id,
    t.email,
    t.email_verified_at IS NOT NULL AS email_verified,
    t.display_name,
    t.role,
    coalesce(c.status, t.status) AS status,
    t.created_at,
    t.is_last_operator
FROM target AS t
LEFT JOIN changed AS c ON t.id = c.id;
