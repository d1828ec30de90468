-- 0010_auth_factors: links that are mailed, attempts that are counted, keys that sign, mail to send.

-- The one link of each purpose that works; a newer request replaces it.
CREATE TABLE one_time_tokens (
    tenant_id text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    -- SHA-256 of the token, which the sender makes again from this row and a master key.
    token_hash bytea NOT NULL,
    nonce bytea NOT NULL,
    master_key_id text NOT NULL,
    -- users.session_epoch when it was asked for: a later change voids the link.
    epoch integer NOT NULL,
    -- The address that the link proves, also the new one of an e-mail change.
    sent_to text NOT NULL,
    expires_at timestamptz NOT NULL,
    consumed_at timestamptz,
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (tenant_id, user_id, purpose),
    CONSTRAINT one_time_tokens_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id),
    CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN ('verify', 'reset', 'email_change')),
    -- Refuses a token stored by mistake.
    CONSTRAINT one_time_tokens_hash_check CHECK (
        octet_length(token_hash) = 32 AND octet_length(nonce) = 16
    )
);

-- How often somebody has tried. Without foreign keys: tenants and addresses that never were are
-- counted like all others.
CREATE TABLE login_throttle (
    tenant_id text COLLATE "C" NOT NULL,
    bucket text COLLATE "C" NOT NULL,
    -- HMAC-SHA256 of what the bucket is about: no address stands here.
    key bytea NOT NULL,
    window_start timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL,
    blocked_until timestamptz,
    CONSTRAINT login_throttle_pkey PRIMARY KEY (tenant_id, bucket, key),
    CONSTRAINT login_throttle_bucket_check CHECK (
        bucket IN ('ip', 'session', 'pair', 'account', 'device', 'mail')
    ),
    CONSTRAINT login_throttle_key_check CHECK (octet_length(key) = 32),
    CONSTRAINT login_throttle_attempts_check CHECK (attempts >= 0)
)
WITH (fillfactor = 70);

-- Keys of a tenant's access tokens. Which of them signs follows from the times alone.
CREATE TABLE signing_keys (
    tenant_id text COLLATE "C" NOT NULL,
    -- RFC 7638's SHA-256 thumbprint of the public key.
    kid text COLLATE "C" NOT NULL,
    alg text NOT NULL,
    public_jwk jsonb NOT NULL,
    -- AES-256-GCM under the subkey of a master key; a revoked key may lose it.
    private_enc bytea,
    master_key_id text NOT NULL,
    active_from timestamptz NOT NULL,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT signing_keys_pkey PRIMARY KEY (tenant_id, kid),
    CONSTRAINT signing_keys_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id),
    CONSTRAINT signing_keys_alg_check CHECK (alg IN ('RS256', 'ES256', 'EdDSA')),
    CONSTRAINT signing_keys_private_check CHECK (
        private_enc IS NOT NULL OR revoked_at IS NOT NULL
    )
);

-- Mail, written with what causes it. No row holds a secret: see one_time_tokens.
CREATE TABLE mail_outbox (
    tenant_id text COLLATE "C" NOT NULL,
    -- A UUIDv7.
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    template text NOT NULL,
    -- Of the one-time token that the mail carries.
    purpose text COLLATE "C",
    to_address text NOT NULL,
    -- NULL: sent, or given up.
    next_attempt_at timestamptz DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mail_outbox_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT mail_outbox_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id),
    CONSTRAINT mail_outbox_purpose_check CHECK (purpose IN ('verify', 'reset', 'email_change')),
    CONSTRAINT mail_outbox_sent_check CHECK (sent_at IS NULL OR next_attempt_at IS NULL),
    CONSTRAINT mail_outbox_error_check CHECK (char_length(last_error) <= 500)
);
-- What is due, of all tenants.
CREATE INDEX mail_outbox_due_idx ON mail_outbox (next_attempt_at)
WHERE next_attempt_at IS NOT NULL;
-- Erasing a user takes the mails with the address.
CREATE INDEX mail_outbox_user_idx ON mail_outbox (tenant_id, user_id);
