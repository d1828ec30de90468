-- 0014_legacy_core: where the move from a legacy store stands, and what it still has to do.
-- All of it goes away again with legacy/drop.sql. Without a row in migration_state nothing here is
-- asked: both triggers are disabled until `flask legacy attach` enables them.

-- The switch itself: one row a tenant and domain (`users`, `payments`). No row: never attached.
CREATE TABLE migration_state (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    -- 1 legacy only, 2 dual write, 3 verifying, 4 new reads, 5 new only. To 3 legacy decides.
    phase smallint NOT NULL DEFAULT 1,
    -- Set: the move is over, and this row is history.
    finished_at timestamptz,
    since timestamptz NOT NULL DEFAULT now(),
    moved_by text NOT NULL,
    note text,
    adapter text NOT NULL,
    -- Who writes until phase 4: `api`, or a legacy program that goes on (D30).
    writers text NOT NULL DEFAULT 'api',
    -- FEATURE_LEDGER_ENABLED on leaving phase 1: a process that differs is not ready (D4).
    ledger_enabled boolean,
    -- When the legacy program was shut out (D31); NULL: it may write.
    fenced_at timestamptz,
    CONSTRAINT migration_state_pkey PRIMARY KEY (tenant_id, domain),
    CONSTRAINT migration_state_domain_check CHECK (domain IN ('users', 'payments')),
    CONSTRAINT migration_state_phase_check CHECK (phase BETWEEN 1 AND 5),
    CONSTRAINT migration_state_writers_check CHECK (writers IN ('api', 'legacy'))
);

-- Every step that was taken, with what its gates said; never changed.
CREATE TABLE migration_moves (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    domain text COLLATE "C" NOT NULL,
    -- 0: attached. 6: finished.
    from_phase smallint NOT NULL,
    to_phase smallint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    moved_by text NOT NULL,
    reason text NOT NULL,
    gates jsonb NOT NULL DEFAULT '[]',
    waived text[] NOT NULL DEFAULT '{}',
    -- For how long writers had to wait.
    hold_ms bigint NOT NULL DEFAULT 0,
    CONSTRAINT migration_moves_pkey PRIMARY KEY (tenant_id, id)
);

-- A write to a store that cannot hold our outbox: noted before, rolled forward after (2.3).
CREATE TABLE migration_intents (
    tenant_id text COLLATE "C" NOT NULL,
    intent_id uuid NOT NULL,
    domain text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    op text NOT NULL,
    -- 0: the row must not be there yet.
    expected_version bigint NOT NULL,
    row_after jsonb NOT NULL,
    -- NULL: nobody waits for an answer under a key.
    answer jsonb,
    idem_scope text COLLATE "C",
    idem_key text COLLATE "C",
    -- What the key row will hold beside the answer.
    key_row jsonb,
    status text NOT NULL DEFAULT 'pending',
    refused_code text,
    not_after timestamptz NOT NULL,
    lease_token uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    CONSTRAINT migration_intents_pkey PRIMARY KEY (tenant_id, intent_id),
    CONSTRAINT migration_intents_status_check CHECK (status IN ('pending', 'applied', 'refused')),
    CONSTRAINT migration_intents_key_check CHECK ((idem_key IS NULL) = (idem_scope IS NULL))
);
-- One write at a time to a row and under a key: the second one is told to come back.
CREATE UNIQUE INDEX migration_intents_entity_key
ON migration_intents (tenant_id, domain, entity_id) WHERE status = 'pending';
CREATE UNIQUE INDEX migration_intents_idem_key
ON migration_intents (tenant_id, idem_scope, idem_key)
WHERE status = 'pending' AND idem_key IS NOT NULL;
CREATE INDEX migration_intents_lease_idx
ON migration_intents (tenant_id, domain, lease_until) WHERE status = 'pending';

-- A dirty key, without its row: inserted and deleted, so that no write waits for the mirror (D20).
CREATE TABLE mirror_marks (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    mark_id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- The legacy id, or our own of a row that legacy has never had.
    entity_id text COLLATE "C" NOT NULL,
    shard smallint NOT NULL GENERATED ALWAYS AS ((hashtext(entity_id) & 63)::smallint) STORED,
    origin text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    CONSTRAINT mirror_marks_pkey PRIMARY KEY (tenant_id, domain, mark_id)
);
CREATE INDEX mirror_marks_due_idx ON mirror_marks (tenant_id, domain, shard, next_try_at);

CREATE TABLE backfill_cursors (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    -- The last legacy id that is done; NULL: none yet.
    after_id text COLLATE "C",
    rows_done bigint NOT NULL DEFAULT 0,
    rows_rejected bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT backfill_cursors_pkey PRIMARY KEY (tenant_id, domain)
);

-- Legacy ids taken in advance, so that rows are made while legacy is down (D26).
CREATE TABLE legacy_id_pool (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    legacy_id text COLLATE "C" NOT NULL,
    taken_at timestamptz,
    CONSTRAINT legacy_id_pool_pkey PRIMARY KEY (tenant_id, domain, legacy_id)
);

-- Rows that break our rules: which and why, never their values (D25).
CREATE TABLE legacy_rejects (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    direction text NOT NULL,
    code text NOT NULL,
    columns text[] NOT NULL DEFAULT '{}',
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    waived_by text,
    reason text,
    resolved_at timestamptz,
    CONSTRAINT legacy_rejects_pkey PRIMARY KEY (tenant_id, domain, entity_id),
    CONSTRAINT legacy_rejects_direction_check CHECK (direction IN ('to_new', 'to_legacy'))
);

CREATE TABLE shadow_counts (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    day date NOT NULL,
    compared bigint NOT NULL DEFAULT 0,
    matched bigint NOT NULL DEFAULT 0,
    mismatched bigint NOT NULL DEFAULT 0,
    ignored bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0,
    CONSTRAINT shadow_counts_pkey PRIMARY KEY (tenant_id, domain, day)
);

CREATE TABLE shadow_mismatches (
    tenant_id text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    columns text[] NOT NULL,
    truth_hash bytea NOT NULL,
    follower_hash bytea,
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT shadow_mismatches_pkey PRIMARY KEY (tenant_id, domain, entity_id)
);

CREATE TABLE drift_runs (
    tenant_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    domain text COLLATE "C" NOT NULL,
    level smallint NOT NULL,
    phase smallint NOT NULL,
    truth text NOT NULL,
    status text NOT NULL DEFAULT 'running',
    rows_truth bigint NOT NULL DEFAULT 0,
    rows_follower bigint NOT NULL DEFAULT 0,
    missing_in_new bigint NOT NULL DEFAULT 0,
    missing_in_legacy bigint NOT NULL DEFAULT 0,
    different bigint NOT NULL DEFAULT 0,
    unsettled bigint NOT NULL DEFAULT 0,
    in_flight bigint NOT NULL DEFAULT 0,
    repaired bigint NOT NULL DEFAULT 0,
    truncated boolean NOT NULL DEFAULT false,
    trigger text NOT NULL,
    run_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    error text,
    CONSTRAINT drift_runs_pkey PRIMARY KEY (tenant_id, run_id),
    CONSTRAINT drift_runs_status_check CHECK (status IN ('running', 'clean', 'drift', 'failed'))
);
CREATE INDEX drift_runs_domain_idx ON drift_runs (tenant_id, domain, started_at);

CREATE TABLE drift_items (
    tenant_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    columns text[] NOT NULL DEFAULT '{}',
    truth_version bigint,
    follower_version bigint,
    truth_hash bytea,
    follower_hash bytea,
    repaired_at timestamptz,
    CONSTRAINT drift_items_pkey PRIMARY KEY (tenant_id, run_id, entity_id)
);

-- No two writers in different phases (D5): a write waits while the phase changes, and is refused
-- with LG001 where legacy decides. Lock and read are two statements, each with its own snapshot:
-- in one the phase would be that of before the wait (D6). The mirror says who it is by a setting
-- of its transaction, takes no lock, and is refused where new decides.
CREATE FUNCTION legacy_gate() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant text := CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
    is_mirror boolean := coalesce(current_setting('strongroom.mirror', true) = 'on', false);
    phase_now smallint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'while a move is under way writers of % are READ COMMITTED', TG_TABLE_NAME
            USING ERRCODE = 'LG003';
    END IF;
    IF NOT is_mirror THEN
        PERFORM pg_advisory_xact_lock_shared(1397902407, hashtext(tenant || '/' || TG_TABLE_NAME));
    END IF;
    SELECT s.phase INTO phase_now
    FROM migration_state AS s
    WHERE s.tenant_id = tenant AND s.domain = TG_TABLE_NAME AND s.finished_at IS NULL;
    IF coalesce(phase_now <= 3, false) <> is_mirror THEN
        RAISE EXCEPTION 'the store of % that decides is another one', TG_TABLE_NAME
            USING ERRCODE = 'LG001';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;

-- In phases 4 and 5 a write leaves a mark in its own transaction (D20). What legacy never sees, and
-- the legacy id that the mirror notes, are no change; anything else must raise the version.
CREATE FUNCTION legacy_capture() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant text := CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
BEGIN
    IF NOT EXISTS (
        SELECT FROM migration_state AS s
        WHERE
            s.tenant_id = tenant AND s.domain = TG_TABLE_NAME AND s.finished_at IS NULL
            AND s.phase >= 4
    ) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.version <= OLD.version THEN
        IF
            to_jsonb(NEW) - '{unposted,legacy_id}'::text[]
            = to_jsonb(OLD) - '{unposted,legacy_id}'::text[]
            AND NEW.version = OLD.version
            AND (OLD.legacy_id IS NULL OR OLD.legacy_id IS NOT DISTINCT FROM NEW.legacy_id)
        THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'a change of % did not raise its version', TG_TABLE_NAME
            USING ERRCODE = 'LG002';
    END IF;
    INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)
    VALUES (
        tenant, TG_TABLE_NAME,
        CASE TG_OP
            WHEN 'DELETE' THEN coalesce(OLD.legacy_id, OLD.id::text)
            ELSE coalesce(NEW.legacy_id, NEW.id::text)
        END,
        'new'
    );
    RETURN NULL;
END
$$;

-- Switches both triggers of a table; only its owner may.
CREATE FUNCTION legacy_switch(domain text, enabled boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE %1$I %2$s TRIGGER legacy_gate, %2$s TRIGGER legacy_capture',
        domain, CASE WHEN enabled THEN 'ENABLE' ELSE 'DISABLE' END
    );
END
$$;

CREATE TRIGGER legacy_gate
BEFORE INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION legacy_gate();
ALTER TABLE users DISABLE TRIGGER legacy_gate;

CREATE TRIGGER legacy_capture
AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION legacy_capture();
ALTER TABLE users DISABLE TRIGGER legacy_capture;

CREATE TRIGGER legacy_gate
BEFORE INSERT OR UPDATE OR DELETE ON payments
FOR EACH ROW EXECUTE FUNCTION legacy_gate();
ALTER TABLE payments DISABLE TRIGGER legacy_gate;

CREATE TRIGGER legacy_capture
AFTER INSERT OR UPDATE OR DELETE ON payments
FOR EACH ROW EXECUTE FUNCTION legacy_capture();
ALTER TABLE payments DISABLE TRIGGER legacy_capture;
