-- 0001_tenants: whose users, keys and money these are; every other key leads with this one.
-- Tenants are made, suspended and resumed by command only, so no request ever writes here.

CREATE TABLE tenants (
    -- Byte order, so that no upgrade of the host's locales can reorder an index of any table.
    tenant_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    -- Closed by default: a new tenant's owner decides who may come in.
    registration_open boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id),
    -- The id stands inside API keys between underscores and in URLs, so it has neither _ nor /.
    CONSTRAINT tenants_tenant_id_check CHECK (tenant_id ~ '^[a-z][a-z0-9-]{0,31}$'),
    CONSTRAINT tenants_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended'))
);

-- A one-product installation lives in this tenant and never notices that there are others.
INSERT INTO tenants (tenant_id, name, registration_open) VALUES ('default', 'Default', true);
