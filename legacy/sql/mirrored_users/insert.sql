-- mirrored_users/insert: users of legacy that new does not have yet; gives the ids that are new.
-- why: inserts what is missing and updates nothing: what the live path wrote is newer (D27). A row
--   that is neither inserted nor there by id hit another unique key (D29).
-- params: tenant_id text, rows jsonb
-- kind: write | returns: many | locks: none
INSERT INTO users (
    tenant_id, id, legacy_id, version, email, email_norm, legacy_password_hash, status,
    display_name, role, email_verified_at, created_at, updated_at
)
SELECT
    :'tenant_id'::text, r.id, r.legacy_id, r.version, r.email, r.email_norm,
    r.legacy_password_hash, r.status, r.display_name, r.role,
    coalesce(r.email_verified_at, CASE WHEN r.email_verified THEN r.created_at END),
    r.created_at, r.updated_at
FROM jsonb_to_recordset(:'rows'::jsonb) AS r (
    id uuid, legacy_id text, version bigint, email text, email_norm text,
    legacy_password_hash text, status text, display_name text, role text,
    email_verified boolean, email_verified_at timestamptz, created_at timestamptz,
    updated_at timestamptz
)
ON CONFLICT DO NOTHING
RETURNING legacy_id;
