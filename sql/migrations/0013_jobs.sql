-- 0013_jobs: what runs by itself, when it is due, and who runs it now.
-- Due times stand here and in no scheduler's memory, so any number of workers on any hosts share
-- them and none is a leader.

CREATE TABLE jobs (
    -- '-': for the whole installation.
    tenant_id text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    every_ms bigint NOT NULL,
    next_run_at timestamptz NOT NULL DEFAULT now(),
    paused boolean NOT NULL DEFAULT false,
    -- Who holds the token may write the outcome. The lease saves work, it is not the safety: every
    -- job is right when it runs twice at once.
    lease_token uuid,
    lease_until timestamptz,
    holder text,
    started_at timestamptz,
    finished_at timestamptz,
    -- Of the last run that ended well, however many have failed since.
    succeeded_at timestamptz,
    outcome text,
    error text,
    rows bigint NOT NULL DEFAULT 0,
    -- In a row; each doubles the time to the next try.
    failures integer NOT NULL DEFAULT 0,
    CONSTRAINT jobs_pkey PRIMARY KEY (tenant_id, job),
    CONSTRAINT jobs_job_check CHECK (job ~ '^[a-z][a-z-]{0,62}$'),
    CONSTRAINT jobs_every_check CHECK (every_ms > 0),
    CONSTRAINT jobs_lease_check CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT jobs_outcome_check CHECK (outcome IN ('ok', 'failed', 'partial')),
    CONSTRAINT jobs_error_check CHECK (char_length(error) <= 500),
    CONSTRAINT jobs_failures_check CHECK (failures >= 0)
);

-- The only question that is asked each second.
CREATE INDEX jobs_due_idx ON jobs (next_run_at) WHERE NOT paused;
