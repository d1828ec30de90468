-- mirrored_users/update: a user as legacy has it now.
-- why: only a lower version gives way (D1, D23). A changed hash of legacy clears ours, or the old
--   password would come back (D40); it, and another status, end the sessions (A4). An address that
--   somebody else has gives no row.
-- params: tenant_id text, user_id uuid, row jsonb, version bigint, clears_password boolean
-- kind: write | returns: count | locks: users row
UPDATE users AS u
SET
    legacy_id = r.legacy_id,
    version = :'version'::bigint,
    email = r.email,
    email_norm = r.email_norm,
    status = r.status,
    display_name = r.display_name,
    role = r.role,
    email_verified_at = CASE
        WHEN r.email_verified_at IS NOT NULL THEN r.email_verified_at
        WHEN r.email_verified THEN coalesce(u.email_verified_at, r.updated_at)
    END,
    created_at = r.created_at,
    updated_at = r.updated_at,
    legacy_password_hash = r.legacy_password_hash,
    password_hash = CASE WHEN NOT :'clears_password'::boolean THEN u.password_hash END,
    password_algo = CASE WHEN NOT :'clears_password'::boolean THEN u.password_algo END,
    password_params = CASE WHEN NOT :'clears_password'::boolean THEN u.password_params END,
    password_hash_version = u.password_hash_version + :'clears_password'::boolean::int,
    session_epoch = u.session_epoch + (:'clears_password'::boolean OR u.status <> r.status)::int
FROM
    jsonb_to_record(:'row'::jsonb) AS r (
        legacy_id text, email text, email_norm text, legacy_password_hash text, status text,
        display_name text, role text, email_verified boolean, email_verified_at timestamptz,
        created_at timestamptz, updated_at timestamptz
    )
WHERE
    u.tenant_id = :'tenant_id'::text AND u.id = :'user_id'::uuid
    AND u.version < :'version'::bigint
    AND NOT EXISTS (
        SELECT FROM users AS o
        WHERE
            o.tenant_id = :'tenant_id'::text AND o.email_norm = :'row'::jsonb ->> 'email_norm'
            AND o.id <> :'user_id'::uuid
    );
