-- The double-entry book. ledger_transactions is the truth, append-only; entries, balances and
-- holds follow from it and are checked against it (`flask replay-ledger`).
-- No trigger, no foreign key on transactions or entries, no index on a column a posting changes;
-- few and short CHECKs, since PostgreSQL parses each of them anew in every statement (ADR 0012).

CREATE TYPE ledger_kind AS ENUM (
    'post', 'hold', 'capture', 'void', 'expire', 'reverse', 'adjust', 'change'
);
CREATE TYPE ledger_outcome AS ENUM ('applied', 'rejected');
CREATE TYPE ledger_account_status AS ENUM ('open', 'frozen', 'closed');

CREATE TABLE ledger_accounts (
    tenant_id text COLLATE "C" NOT NULL,
    -- Never leaves the service: outside, an account is its code and currency.
    account_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    -- Segments joined by ':'. The code is the hierarchy; a prefix is a range of the unique key.
    code text COLLATE "C" NOT NULL,
    currency char(3) NOT NULL,
    name text,
    -- 1: credits raise the balance (liability, income); -1: debits do (asset, expense).
    normal_side smallint NOT NULL,
    stripes smallint NOT NULL DEFAULT 1,
    owner_user_id uuid,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ledger_accounts_pkey PRIMARY KEY (tenant_id, account_id),
    CONSTRAINT ledger_accounts_code_key UNIQUE (tenant_id, code, currency),
    CONSTRAINT ledger_accounts_code_check CHECK (
        octet_length(code) <= 255
        AND code ~ '^[a-z0-9][a-z0-9._-]{0,62}(:[a-z0-9][a-z0-9._-]{0,62}){0,9}$'
    ),
    CONSTRAINT ledger_accounts_normal_side_check CHECK (normal_side IN (1, -1)),
    CONSTRAINT ledger_accounts_stripes_check CHECK (stripes BETWEEN 1 AND 64)
);
CREATE INDEX ledger_accounts_owner_idx ON ledger_accounts (tenant_id, owner_user_id)
WHERE owner_user_id IS NOT NULL;

-- Four counters instead of one signed number: an upsert under CHECK (balance >= 0) fails on the
-- proposed row, though the result would be fine. No second index, fillfactor 70: heap-only updates.
CREATE TABLE ledger_balances (
    tenant_id text COLLATE "C" NOT NULL,
    account_id bigint NOT NULL,
    stripe smallint NOT NULL DEFAULT 0,
    currency char(3) NOT NULL,
    normal_side smallint NOT NULL,
    status ledger_account_status NOT NULL DEFAULT 'open',
    -- Bounds `available`; NULL: none. -5000 is an overdraft of 50.00.
    floor bigint DEFAULT 0,
    -- Bounds `reachable`; NULL: none.
    ceiling bigint,
    debits_posted bigint NOT NULL DEFAULT 0,
    credits_posted bigint NOT NULL DEFAULT 0,
    debits_pending bigint NOT NULL DEFAULT 0,
    credits_pending bigint NOT NULL DEFAULT 0,
    -- How many entries this balance has.
    version bigint NOT NULL DEFAULT 0,
    last_posted_at timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT ledger_balances_pkey PRIMARY KEY (tenant_id, account_id, stripe),
    CONSTRAINT ledger_balances_account_fkey FOREIGN KEY (tenant_id, account_id)
    REFERENCES ledger_accounts (tenant_id, account_id),
    -- 2^62: a sum of two counters still fits a bigint.
    CONSTRAINT ledger_balances_counters_check CHECK (
        least(debits_posted, credits_posted, debits_pending, credits_pending) >= 0
        AND greatest(debits_posted, credits_posted, debits_pending, credits_pending)
        <= 4611686018427387904
    )
) WITH (fillfactor = 70);

-- A header says everything: its legs are the arrays, entries can be made anew from it.
CREATE TABLE ledger_transactions (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    kind ledger_kind NOT NULL,
    status ledger_outcome NOT NULL,
    reason text,
    reference text COLLATE "C",
    hold_id uuid,
    reverses uuid,
    final boolean NOT NULL DEFAULT true,
    -- Only a payment statement may pass a floor: what the payer's bank takes back is gone.
    forced boolean NOT NULL DEFAULT false,
    posted_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    debit_accounts bigint[] NOT NULL,
    credit_accounts bigint[] NOT NULL,
    amounts bigint[] NOT NULL,
    -- Debit and credit stripe of each leg in turn; NULL: all 0.
    stripes smallint[],
    released bigint,
    request_hash bytea,
    metadata jsonb,
    metadata_hash bytea,
    actor text NOT NULL,
    request_id text NOT NULL,
    CONSTRAINT ledger_transactions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT ledger_transactions_legs_check CHECK (
        cardinality(debit_accounts) = cardinality(amounts)
        AND cardinality(credit_accounts) = cardinality(amounts)
        AND 0 < all(amounts)
    )
);
-- The order of log, feed and seal.
CREATE INDEX ledger_transactions_posted_idx ON ledger_transactions (tenant_id, posted_at, id);
CREATE UNIQUE INDEX ledger_transactions_reference_key ON ledger_transactions (tenant_id, reference)
WHERE status = 'applied' AND reference IS NOT NULL;
CREATE UNIQUE INDEX ledger_transactions_reverses_key ON ledger_transactions (tenant_id, reverses)
WHERE status = 'applied' AND reverses IS NOT NULL;
CREATE UNIQUE INDEX ledger_transactions_hold_key ON ledger_transactions (tenant_id, hold_id)
WHERE status = 'applied' AND final AND kind IN ('capture', 'void', 'expire');

-- The statement of each account. The key's order is posting order, and version order with it.
CREATE TABLE ledger_entries (
    tenant_id text COLLATE "C" NOT NULL,
    account_id bigint NOT NULL,
    stripe smallint NOT NULL DEFAULT 0,
    posted_at timestamptz NOT NULL,
    version bigint NOT NULL,
    tx_id uuid NOT NULL,
    leg smallint NOT NULL,
    -- 1 credit, -1 debit.
    side smallint NOT NULL,
    posted bigint NOT NULL,
    pending bigint NOT NULL DEFAULT 0,
    effective_at timestamptz NOT NULL,
    -- The stripe's posted balance on its normal side after this entry.
    balance_after bigint NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (tenant_id, account_id, stripe, posted_at, version),
    CONSTRAINT ledger_entries_amount_check CHECK (posted >= 0 AND (posted <> 0 OR pending <> 0))
);
CREATE INDEX ledger_entries_backdated_idx ON ledger_entries (tenant_id, account_id, posted_at)
WHERE effective_at <> posted_at;

-- Open holds only: the row goes when the hold is resolved, its transactions stay.
CREATE TABLE ledger_holds (
    tenant_id text COLLATE "C" NOT NULL,
    hold_id uuid NOT NULL,
    debit_account bigint NOT NULL,
    credit_account bigint NOT NULL,
    stripes smallint[],
    amount bigint NOT NULL,
    remaining bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT ledger_holds_pkey PRIMARY KEY (tenant_id, hold_id),
    CONSTRAINT ledger_holds_remaining_check CHECK (0 < remaining AND remaining <= amount)
);
CREATE INDEX ledger_holds_expires_idx ON ledger_holds (tenant_id, expires_at);
CREATE INDEX ledger_holds_debit_idx ON ledger_holds (tenant_id, debit_account);
CREATE INDEX ledger_holds_credit_idx ON ledger_holds (tenant_id, credit_account);

CREATE TABLE ledger_settings (
    tenant_id text COLLATE "C" NOT NULL,
    -- Nothing may be dated on or before this day any more.
    closed_through date,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL,
    CONSTRAINT ledger_settings_pkey PRIMARY KEY (tenant_id)
);
