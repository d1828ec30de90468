-- 0005_audit: who did what, written with its effect. Append-only: the application's role may only
-- INSERT and SELECT (sql/grants.sql); old rows go by a command under the migration role.

CREATE TABLE audit_log (
    -- Without foreign keys: a row outlives what it tells of, and attempts on a tenant or a user
    -- that never was are told here too.
    tenant_id text COLLATE "C" NOT NULL,
    -- A UUIDv7, so that the primary key lists a tenant's events in the order of time.
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    -- user:<id>, key:<principal id>, cli:<login name>, or job:<name>; NULL: nobody proved who.
    subject text,
    user_id uuid,
    session_id uuid,
    event text NOT NULL,
    outcome text NOT NULL DEFAULT 'ok',
    reason text,
    ip inet,
    user_agent text,
    request_id text,
    -- What else is worth keeping, and never a secret.
    details jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT audit_log_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT audit_log_outcome_check CHECK (outcome IN ('ok', 'failed', 'throttled')),
    CONSTRAINT audit_log_user_agent_check CHECK (char_length(user_agent) <= 256),
    CONSTRAINT audit_log_details_check CHECK (jsonb_typeof(details) = 'object')
);
