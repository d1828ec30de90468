-- 0002_users: people of a tenant. A row is never deleted, since payments point to it: erasing a
-- user empties what names the person and keeps the id.

CREATE TABLE users (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    -- As it was typed, for showing and for sending mail.
    email text,
    -- As it is compared: normalised by services/users.py, ordered by bytes as only equality counts.
    email_norm text COLLATE "C",
    -- The bcrypt hash of a legacy system, kept as it came.
    legacy_password_hash text,
    status text NOT NULL DEFAULT 'active',
    -- Raised by every UPDATE: what was read can be guarded, and a mirror knows the newer row.
    version bigint NOT NULL DEFAULT 1,
    legacy_id text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (tenant_id, id),
    -- A user belongs to one tenant for good.
    CONSTRAINT users_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id),
    -- One address is one user per tenant; the same address elsewhere is somebody else.
    CONSTRAINT users_email_key UNIQUE (tenant_id, email_norm),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'disabled', 'deleted')),
    -- Only an erased user may be without address, and the two forms come and go together.
    CONSTRAINT users_email_check CHECK (
        (email IS NULL) = (email_norm IS NULL) AND (email IS NOT NULL OR status = 'deleted')
    ),
    -- SMTP's limit for an address (RFC 5321, erratum 1690).
    CONSTRAINT users_email_length_check CHECK (
        char_length(email) <= 254 AND octet_length(email_norm) <= 254
    ),
    CONSTRAINT users_version_check CHECK (version >= 1)
);

-- A legacy row becomes one user; partial, since most installations never had a legacy system.
CREATE UNIQUE INDEX users_legacy_id_key ON users (tenant_id, legacy_id)
WHERE legacy_id IS NOT NULL;
