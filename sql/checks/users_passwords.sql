-- checks/users_passwords: what stands beside a hash repeats it, and counters only rise.
-- why: the report of what is left to upgrade believes the columns, an erased person is gone, and a
-- session cannot come from an epoch that has not begun.
-- params: none
-- kind: read | returns: many | scan: all
SELECT u.tenant_id, u.id, u.password_algo, u.password_params
FROM users AS u
WHERE
    (
        u.password_algo = 'bcrypt' AND u.password_hash LIKE '$2_$__$%'
        AND substr(u.password_hash, 5, 2) <> lpad(u.password_params ->> 'cost', 2, '0')
    )
    OR (
        u.password_hash LIKE '$argon2%'
        AND NOT starts_with(u.password_hash, concat(
            '$', u.password_algo, '$v=19$m=', u.password_params ->> 'm', ',t=',
            u.password_params ->> 't', ',p=', u.password_params ->> 'p', '$'
        ))
    )
    OR (
        u.status = 'deleted'
        AND num_nonnulls(
            u.email, u.email_verified_at, u.display_name, u.password_hash, u.legacy_password_hash
        ) > 0
    )
    OR u.password_hash_version > u.version
    OR u.session_epoch >= u.version
    OR EXISTS (
        SELECT FROM auth_sessions AS s
        WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id AND s.epoch > u.session_epoch
    )
LIMIT 100;
