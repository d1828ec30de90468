-- users/erase: empty what names a person; the row stays, since payments point to it.
-- why: the epoch ends the user's sessions in the same UPDATE (A4), the version of the hash stops an
-- upgrade that is on its way. Sessions that were live forget where they came from (those that had
-- ended go by themselves); links and mails are deleted. The tenant's operators are locked with the
-- user and in one order, so that one of them is left.
-- params: tenant_id text, user_id uuid, reason text?, audit_id uuid, subject text
-- kind: write | returns: 0..1
-- locks: users rows: this one and the operators, by id, then what hangs on the user
-- present: is_last_operator
WITH locked AS (
    SELECT u.id, u.role, u.status
    FROM users AS u
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND (u.id = :'user_id'::uuid OR (u.role = 'operator' AND u.status = 'active'))
    ORDER BY u.id
    FOR UPDATE
),

target AS (
    SELECT
        l.id,
        l.status,
        l.role = 'operator' AND l.status = 'active'
        AND NOT EXISTS (
            SELECT FROM locked AS o
            WHERE o.id <> l.id AND o.role = 'operator' AND o.status = 'active'
        ) AS is_last_operator
    FROM locked AS l
    WHERE l.id = :'user_id'::uuid
),

erased AS (
    UPDATE users AS u
    SET
        email = NULL,
        email_norm = NULL,
        email_verified_at = NULL,
        display_name = NULL,
        status = 'deleted',
        password_hash = NULL,
        password_algo = NULL,
        password_params = NULL,
        legacy_password_hash = NULL,
        password_hash_version = u.password_hash_version + 1,
        password_changed_at = NULL,
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM target AS t
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = t.id
        AND t.status <> 'deleted'
        AND NOT t.is_last_operator
    RETURNING u.tenant_id, u.id
),

sessions AS (
    UPDATE auth_sessions AS s
    SET
        ip = NULL,
        user_agent = NULL,
        device_label = NULL,
        revoked_at = now(),
        revoked_reason = 'user_erased'
    FROM erased AS e
    WHERE s.tenant_id = e.tenant_id AND s.user_id = e.id AND s.revoked_at IS NULL
),

links AS (
    DELETE FROM one_time_tokens AS o
    USING erased AS e
    WHERE o.tenant_id = e.tenant_id AND o.user_id = e.id
),

mails AS (
    DELETE FROM mail_outbox AS m
    USING erased AS e
    WHERE m.tenant_id = e.tenant_id AND m.user_id = e.id
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, user_id, event, reason)
    SELECT
        e.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        e.id,
        'user_erased',
        :'reason'::text
    FROM erased AS e
)

SELECT t.is_last_operator
FROM target AS t;
