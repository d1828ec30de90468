-- What proves the book: seals (a Merkle log over the transactions) and the runs of replay-ledger.

CREATE TABLE ledger_seal_state (
    tenant_id text COLLATE "C" NOT NULL,
    -- The watermark: nothing at or below it can still appear.
    sealed_through timestamptz NOT NULL DEFAULT '-infinity',
    tree_size bigint NOT NULL DEFAULT 0,
    tick_at timestamptz,
    tick_xid xid8,
    -- The server that took the tick: after a restore elsewhere, old ticks say nothing.
    tick_node text,
    stopped_reason text,
    CONSTRAINT ledger_seal_state_pkey PRIMARY KEY (tenant_id)
);

CREATE TABLE ledger_leaves (
    tenant_id text COLLATE "C" NOT NULL,
    idx bigint NOT NULL,
    tx_id uuid NOT NULL,
    -- True: it appeared below the watermark, after the clock had stepped back.
    late boolean NOT NULL DEFAULT false,
    CONSTRAINT ledger_leaves_pkey PRIMARY KEY (tenant_id, idx),
    CONSTRAINT ledger_leaves_tx_key UNIQUE (tenant_id, tx_id)
);

CREATE TABLE ledger_tiles (  -- noqa: PRS
    tenant_id text COLLATE "C" NOT NULL,
    level smallint NOT NULL,
    n bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT ledger_tiles_pkey PRIMARY KEY (tenant_id, level, n)
);

CREATE TABLE ledger_seals (
    tenant_id text COLLATE "C" NOT NULL,
    tree_size bigint NOT NULL,
    root bytea NOT NULL,
    sealed_through timestamptz NOT NULL,
    note text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ledger_seals_pkey PRIMARY KEY (tenant_id, tree_size)
);

-- Every run of replay-ledger, so that "was it ever checked" has an answer.
CREATE TABLE ledger_replay_runs (
    tenant_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    mode text NOT NULL,
    levels text[] NOT NULL,
    filter jsonb NOT NULL DEFAULT '{}',
    as_of timestamptz,
    since_seal bigint,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    accounts bigint NOT NULL DEFAULT 0,
    transactions bigint NOT NULL DEFAULT 0,
    entries bigint NOT NULL DEFAULT 0,
    mismatches bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    verdict text,
    exit_code smallint,
    actor text NOT NULL,
    host text NOT NULL,
    app_version text NOT NULL,
    CONSTRAINT ledger_replay_runs_pkey PRIMARY KEY (tenant_id, run_id)
);

CREATE TABLE ledger_replay_findings (
    tenant_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    n integer NOT NULL,
    level text NOT NULL,
    account_id bigint,
    tx_id uuid,
    field text NOT NULL,
    expected text,
    found text,
    action text,
    CONSTRAINT ledger_replay_findings_pkey PRIMARY KEY (tenant_id, run_id, n)
);
