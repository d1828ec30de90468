-- users/upgrade_password: store the same password under today's algorithm and parameters.
-- why: only if nobody has stored a hash since it was read (A17): a password that was changed
-- meanwhile stays, and of several log-ins at once one upgrades. The old store's hash stays too, so
-- that the way back to that store locks nobody out (D40). Sessions live on.
-- params: tenant_id text, user_id uuid, read_version int, password_hash text, password_algo text,
--   password_params jsonb, audit_id uuid, request_id text
-- kind: write | returns: count | locks: users row
WITH upgraded AS (
    UPDATE users AS u
    SET
        password_hash = :'password_hash'::text,
        password_algo = :'password_algo'::text,
        password_params = :'password_params'::jsonb,
        password_hash_version = u.password_hash_version + 1,
        version = u.version + 1,
        updated_at = now()
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.password_hash_version = :'read_version'::int
    RETURNING u.tenant_id, u.id, u.password_algo, u.password_params
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, request_id, details)
SELECT
    u.tenant_id,
    :'audit_id'::uuid,
    'user:' || u.id::text,
    u.id,
    'password_upgraded',
    nullif(:'request_id'::text, '-'),
    jsonb_build_object('algo', u.password_algo, 'params', u.password_params)
FROM upgraded AS u;
