-- 0004_api_keys: machines of a tenant. A row holds no key, only the SHA-256 of one: a dump of this
-- table lets nobody in. Rows are never deleted, so that every old action keeps its author.

CREATE TABLE api_keys (
    tenant_id text COLLATE "C" NOT NULL,
    -- The public part of the key, 12 base62 characters: by it the key is found.
    id text COLLATE "C" NOT NULL,
    -- Who acts: survives rotation, so idempotency and audit see one client under both keys.
    principal_id uuid NOT NULL,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    -- NULL: from anywhere. An empty list would mean nowhere, which revoking says better.
    allowed_cidrs cidr[],
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    replaced_by text COLLATE "C",
    revoked_at timestamptz,
    revoked_by text,
    revoked_reason text,
    last_used_at timestamptz,
    last_used_ip inet,
    CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_keys_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id),
    -- The successor of a rotated key is a key of the same tenant.
    CONSTRAINT api_keys_replaced_by_fkey FOREIGN KEY (tenant_id, replaced_by)
    REFERENCES api_keys (tenant_id, id),
    CONSTRAINT api_keys_id_check CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    -- Refuses a key or a hexadecimal text stored by mistake.
    CONSTRAINT api_keys_hash_check CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_scopes_check CHECK (
        cardinality(scopes) > 0 AND array_position(scopes, NULL) IS NULL
    ),
    CONSTRAINT api_keys_cidrs_check CHECK (
        cardinality(allowed_cidrs) > 0 AND array_position(allowed_cidrs, NULL) IS NULL
    ),
    -- A revocation always says when and by whom.
    CONSTRAINT api_keys_revoked_check CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
)
-- Room on each page for last_used_at: no index holds it, so its updates stay on the page (HOT).
WITH (fillfactor = 70);
