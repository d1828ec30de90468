-- emails/delete_unverified: erase who registered, never proved the address and was never let in.
-- why: an address must not stay taken by somebody who could not read its mail. Only users that a
-- verification link was made for count, so imported users and those of other times stay. The row
-- stays, as payments may point to it; what names the person goes, and links and mails with it.
-- params: tenant_id text, days int, batch int, audit_ids uuid[]
-- kind: write | returns: count | locks: users rows, those in use skipped | scan: tenant
WITH old AS (
    SELECT u.tenant_id, u.id, row_number() OVER (ORDER BY u.id) AS place
    FROM users AS u
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id IN (
            SELECT x.id
            FROM users AS x
            INNER JOIN one_time_tokens AS o
                ON x.tenant_id = o.tenant_id AND x.id = o.user_id AND o.purpose = 'verify'
            WHERE
                x.tenant_id = :'tenant_id'::text
                AND x.status = 'active'
                AND x.role = 'user'
                AND x.email_verified_at IS NULL
                AND x.created_at < now() - make_interval(days => :'days'::int)
                AND o.expires_at < now()
                AND NOT EXISTS (
                    SELECT FROM auth_sessions AS s
                    WHERE s.tenant_id = x.tenant_id AND s.user_id = x.id
                )
            ORDER BY x.id
            LIMIT :'batch'::int
            FOR NO KEY UPDATE OF x SKIP LOCKED
        )
),

erased AS (
    UPDATE users AS u
    SET
        email = NULL,
        email_norm = NULL,
        display_name = NULL,
        password_hash = NULL,
        password_algo = NULL,
        password_params = NULL,
        legacy_password_hash = NULL,
        status = 'deleted',
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM old
    WHERE u.tenant_id = old.tenant_id AND u.id = old.id
    RETURNING u.tenant_id, u.id, old.place
),

unlinked AS (
    DELETE FROM one_time_tokens AS o
    USING erased AS e
    WHERE o.tenant_id = e.tenant_id AND o.user_id = e.id
),

unsent AS (
    DELETE FROM mail_outbox AS m
    USING erased AS e
    WHERE m.tenant_id = e.tenant_id AND m.user_id = e.id
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, reason)
SELECT e.tenant_id, (:'audit_ids'::uuid[])[e.place], 'job:auth-purge', e.id, 'user_erased', 'unverified'
FROM erased AS e;
