-- Settings that change without a restart. The tenant '-' means the whole installation.
CREATE TABLE settings (
    tenant_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    value jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    updated_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT settings_pkey PRIMARY KEY (tenant_id, name),
    CONSTRAINT settings_name_check CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$')
);
