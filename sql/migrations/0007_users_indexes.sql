-- 0007_users_indexes: how users prove who they are, and what a login leaves behind.
-- Outside a transaction, since `users` has rows: each lock is held for one statement only.
-- migrate: no-transaction

ALTER TABLE users
ADD COLUMN email_verified_at timestamptz,
ADD COLUMN display_name text,
ADD COLUMN role text NOT NULL DEFAULT 'user',
ADD COLUMN password_hash text,
-- What the hash itself says, once more: one query counts what is left to upgrade.
ADD COLUMN password_algo text,
ADD COLUMN password_params jsonb,
-- Raised by every new hash: an upgrade is guarded by the version that was verified.
ADD COLUMN password_hash_version integer NOT NULL DEFAULT 0,
-- When the person chose it: an upgrade keeps it, and an imported hash has none.
ADD COLUMN password_changed_at timestamptz,
-- Raised by whatever must end the user's sessions; a session lives in one epoch only.
ADD COLUMN session_epoch integer NOT NULL DEFAULT 0;

ALTER TABLE users
ADD CONSTRAINT users_role_check CHECK (role IN ('user', 'operator')) NOT VALID;
ALTER TABLE users
ADD CONSTRAINT users_display_name_check
CHECK (char_length(display_name) BETWEEN 1 AND 200) NOT VALID;
ALTER TABLE users
ADD CONSTRAINT users_password_check
CHECK (num_nulls(password_hash, password_algo, password_params) IN (0, 3)) NOT VALID;
ALTER TABLE users VALIDATE CONSTRAINT users_role_check;
ALTER TABLE users VALIDATE CONSTRAINT users_display_name_check;
ALTER TABLE users VALIDATE CONSTRAINT users_password_check;

-- What verifying each hash costs, by its beginning: `$2b$12`, `$argon2id$v=19$m=65536,t=3,p=1`.
-- Workers ask each minute which there are, and read one entry of each. Not led by the tenant: a
-- failed login costs the same in all of them.
CREATE INDEX CONCURRENTLY users_password_class_idx ON users ((
    substring(
        coalesce(password_hash, legacy_password_hash)
        FROM '^([$]2[aby][$][0-9]{2}|[$]argon2id[$]v=19[$][^$]{1,40})[$]'
    )
) COLLATE "C");

-- The last active operator of a tenant may not be taken away.
CREATE INDEX CONCURRENTLY users_operators_idx ON users (tenant_id, id) WHERE role = 'operator';

-- One login is one row, and one family of refresh tokens.
CREATE TABLE auth_sessions (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- users.session_epoch as it was before the password was verified.
    epoch integer NOT NULL,
    -- Which refresh token is the newest; an unsigned 32-bit number.
    generation bigint NOT NULL DEFAULT 0,
    secret_hash bytea NOT NULL,
    rotated_at timestamptz,
    -- How often the newest token was given again to somebody who had missed it.
    retry_count integer NOT NULL DEFAULT 0,
    auth_time timestamptz NOT NULL DEFAULT now(),
    amr text[] NOT NULL DEFAULT '{pwd}',
    ip inet,
    user_agent text,
    device_label text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    idle_expires_at timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    CONSTRAINT auth_sessions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT auth_sessions_user_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id),
    -- Refuses a token stored by mistake.
    CONSTRAINT auth_sessions_secret_check CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT auth_sessions_generation_check CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT auth_sessions_texts_check CHECK (
        char_length(user_agent) <= 256 AND char_length(device_label) <= 64
    ),
    CONSTRAINT auth_sessions_revoked_check CHECK (num_nulls(revoked_at, revoked_reason) IN (0, 2))
)
-- Room on each page: no index holds what a refresh changes, so its updates stay there (HOT).
WITH (fillfactor = 70);
CREATE INDEX auth_sessions_user_idx ON auth_sessions (tenant_id, user_id)
WHERE revoked_at IS NULL;
-- What ended long ago is deleted by it. This expiry never moves.
CREATE INDEX auth_sessions_expiry_idx ON auth_sessions (tenant_id, absolute_expires_at);

-- Each refresh token that was given out, for tracing a theft. Kept 7 days; no answer needs it.
CREATE TABLE refresh_tokens (
    tenant_id text COLLATE "C" NOT NULL,
    session_id uuid NOT NULL,
    generation bigint NOT NULL,
    token_hash bytea NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (tenant_id, session_id, generation),
    CONSTRAINT refresh_tokens_session_fkey FOREIGN KEY (tenant_id, session_id)
    REFERENCES auth_sessions (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_hash_check CHECK (octet_length(token_hash) = 32)
);
CREATE INDEX refresh_tokens_issued_idx ON refresh_tokens (tenant_id, issued_at);
