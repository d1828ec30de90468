-- users/set_role: make a user an operator, or an operator a user; gives the user as it is now.
-- why: the epoch ends the user's sessions in the same UPDATE (A4); a new operator gets a new
-- password with the role (A8). The tenant's operators are locked with the user and in one order: of
-- two that demote each other one is refused. `is_last_operator`: nothing was changed for that reason.
-- params: tenant_id text, user_id uuid, role text, password_hash text?, password_algo text?,
--   password_params jsonb?, audit_id uuid, subject text
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
        :'role'::text <> 'operator' AND l.role = 'operator' AND l.status = 'active'
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
        role = :'role'::text,
        password_hash = coalesce(:'password_hash'::text, u.password_hash),
        password_algo = coalesce(:'password_algo'::text, u.password_algo),
        password_params = coalesce(:'password_params'::jsonb, u.password_params),
        legacy_password_hash
        = CASE WHEN :'password_hash'::text IS NULL THEN u.legacy_password_hash END,
        password_hash_version = u.password_hash_version + num_nonnulls(:'password_hash'::text),
        password_changed_at
        = CASE WHEN :'password_hash'::text IS NULL THEN u.password_changed_at ELSE now() END,
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM target AS t
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = t.id
        AND t.role <> :'role'::text
        AND NOT t.is_last_operator
    RETURNING u.tenant_id, u.id, u.role
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, user_id, event, details)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        c.id,
        'role_changed',
        jsonb_build_object('role', c.role, 'new_password', :'password_hash'::text IS NOT NULL)
    FROM changed AS c
)

SELECT
    :'tenant_id'::text AS tenant_id,
    t.id,
    t.email,
    t.email_verified_at IS NOT NULL AS email_verified,
    t.display_name,
    coalesce(c.role, t.role) AS role,
    t.status,
    t.created_at,
    t.is_last_operator
FROM target AS t
LEFT JOIN changed AS c ON t.id = c.id;
