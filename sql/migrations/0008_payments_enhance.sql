-- Payments, what happened to them, and the keys that make a retry harmless.

CREATE TYPE payment_status AS ENUM (
    'created', 'authorized', 'partially_captured', 'captured', 'voided', 'expired', 'cancelled',
    'failed', 'partially_refunded', 'refunded', 'disputed', 'partially_charged_back', 'charged_back'
);
CREATE TYPE payment_capture_method AS ENUM ('manual', 'manual_multiple', 'automatic');
CREATE TYPE payment_end_reason AS ENUM ('cancelled', 'failed', 'expired', 'voided');

-- The status is a pure function of the amounts, so a command cannot set one that the money
-- does not justify. services/payments.py says the same in Python; a test compares the two.
CREATE FUNCTION payment_status_of(
    authorized bigint, captured bigint, voided bigint, refunded bigint, disputed bigint,
    charged_back bigint, end_reason payment_end_reason
) RETURNS payment_status
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN disputed > 0 THEN 'disputed'::payment_status
    WHEN charged_back > 0 AND captured = refunded + charged_back AND authorized = captured + voided
        THEN 'charged_back'::payment_status
    WHEN charged_back > 0 THEN 'partially_charged_back'::payment_status
    WHEN refunded > 0 AND captured = refunded AND authorized = captured + voided
        THEN 'refunded'::payment_status
    WHEN refunded > 0 THEN 'partially_refunded'::payment_status
    WHEN captured > 0 AND authorized > captured + voided THEN 'partially_captured'::payment_status
    WHEN captured > 0 THEN 'captured'::payment_status
    WHEN end_reason = 'cancelled' THEN 'cancelled'::payment_status
    WHEN end_reason = 'failed' THEN 'failed'::payment_status
    WHEN end_reason = 'expired' THEN 'expired'::payment_status
    WHEN end_reason = 'voided' THEN 'voided'::payment_status
    WHEN authorized > 0 THEN 'authorized'::payment_status
    ELSE 'created'::payment_status
END;

-- One row per payment: what was promised, taken, and given back. What is left to capture or to
-- refund is never stored. `currency` has no foreign key: see 0003.
CREATE TABLE payments (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    legacy_id text,
    reference text COLLATE "C",
    amount_minor bigint NOT NULL,
    currency char(3) NOT NULL,
    capture_method payment_capture_method NOT NULL DEFAULT 'manual',
    gateway text NOT NULL DEFAULT 'manual',
    gateway_reference text,
    description text,
    metadata jsonb NOT NULL DEFAULT '{}',
    status payment_status NOT NULL,
    end_reason payment_end_reason,
    failure_code text,
    failure_message text,
    -- NULL: nothing is left to capture.
    capture_before timestamptz,
    expiry_warned boolean NOT NULL DEFAULT false,
    -- True: a command ran while the ledger was switched off; ledger-catch-up posts it.
    unposted boolean NOT NULL DEFAULT false,
    authorized_minor bigint NOT NULL DEFAULT 0,
    captured_minor bigint NOT NULL DEFAULT 0,
    voided_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    disputed_minor bigint NOT NULL DEFAULT 0,
    charged_back_minor bigint NOT NULL DEFAULT 0,
    fee_minor bigint NOT NULL DEFAULT 0,
    fee_refunded_minor bigint NOT NULL DEFAULT 0,
    -- The seq of the payment's last event.
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payments_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    -- 2^53 bounds what every JSON client reads exactly; 10^15 - 1 is below it, and nine thousand
    -- of the largest fit one balance.
    CONSTRAINT payments_amount_check CHECK (amount_minor BETWEEN 1 AND 999999999999999),
    CONSTRAINT payments_counters_check CHECK (
        authorized_minor >= 0 AND captured_minor >= 0 AND voided_minor >= 0
        AND refunded_minor >= 0 AND disputed_minor >= 0 AND charged_back_minor >= 0
        AND fee_minor >= 0 AND fee_refunded_minor >= 0
    ),
    CONSTRAINT payments_authorized_check CHECK (authorized_minor <= amount_minor),
    CONSTRAINT payments_capturable_check CHECK (captured_minor + voided_minor <= authorized_minor),
    CONSTRAINT payments_refundable_check CHECK (
        refunded_minor + disputed_minor + charged_back_minor <= captured_minor
    ),
    CONSTRAINT payments_fee_check CHECK (fee_refunded_minor <= fee_minor),
    CONSTRAINT payments_status_check CHECK (
        status = payment_status_of(
            authorized_minor, captured_minor, voided_minor, refunded_minor, disputed_minor,
            charged_back_minor, end_reason
        )
    ),
    CONSTRAINT payments_end_reason_check CHECK (
        CASE
            WHEN authorized_minor = 0 THEN end_reason IS NULL OR end_reason IN ('cancelled', 'failed')
            WHEN captured_minor = 0 AND voided_minor = authorized_minor
                THEN end_reason IS NOT NULL AND end_reason IN ('expired', 'voided')
            ELSE end_reason IS NULL
        END
    ),
    CONSTRAINT payments_version_check CHECK (version >= 1)
) WITH (fillfactor = 80);  -- Room for heap-only updates: a payment changes a few times, then rests.

-- A reference holds for ever, where keys are forgotten, regenerated or expired.
CREATE UNIQUE INDEX payments_reference_key ON payments (tenant_id, user_id, reference)
WHERE reference IS NOT NULL;
CREATE UNIQUE INDEX payments_legacy_key ON payments (tenant_id, legacy_id)
WHERE legacy_id IS NOT NULL;
CREATE INDEX payments_created_idx ON payments (tenant_id, created_at, id);
CREATE INDEX payments_user_idx ON payments (tenant_id, user_id, created_at, id);
-- For the job that expires authorisations; the only index on a column that commands change.
CREATE INDEX payments_capture_before_idx ON payments (tenant_id, capture_before)
WHERE capture_before IS NOT NULL;

-- Append-only history. No foreign key: this is the hottest insert, and sql/checks prove the link.
CREATE TABLE payment_events (
    tenant_id text COLLATE "C" NOT NULL,
    payment_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    amount_minor bigint,
    status_from payment_status,
    status_to payment_status NOT NULL,
    -- status, end_reason, capture_before and the eight amounts as they are after the event.
    after jsonb NOT NULL,
    object_id uuid,
    actor text NOT NULL,
    request_id text NOT NULL,
    key text NOT NULL,
    created_at timestamptz NOT NULL,
    epoch smallint NOT NULL DEFAULT 1,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT payment_events_pkey PRIMARY KEY (tenant_id, payment_id, seq),
    CONSTRAINT payment_events_seq_check CHECK (seq >= 1)
);
-- The order of the event feed: commits in flight cannot appear behind a reader's cursor.
CREATE INDEX payment_events_feed_idx ON payment_events (tenant_id, epoch, xid, payment_id, seq);

CREATE TABLE payment_captures (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    reference text COLLATE "C",
    amount_minor bigint NOT NULL,
    fee_minor bigint NOT NULL DEFAULT 0,
    final boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT payment_captures_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payment_captures_payment_fkey FOREIGN KEY (tenant_id, payment_id)
    REFERENCES payments (tenant_id, id),
    CONSTRAINT payment_captures_amount_check CHECK (amount_minor > 0),
    CONSTRAINT payment_captures_fee_check CHECK (fee_minor BETWEEN 0 AND amount_minor)
);
CREATE INDEX payment_captures_payment_idx ON payment_captures (tenant_id, payment_id, id);
CREATE UNIQUE INDEX payment_captures_reference_key
ON payment_captures (tenant_id, payment_id, reference) WHERE reference IS NOT NULL;

CREATE TABLE payment_refunds (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    reference text COLLATE "C",
    amount_minor bigint NOT NULL,
    -- The part of the fee that is given back.
    fee_minor bigint NOT NULL DEFAULT 0,
    reason text,
    status text NOT NULL DEFAULT 'succeeded',
    created_at timestamptz NOT NULL,
    CONSTRAINT payment_refunds_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payment_refunds_payment_fkey FOREIGN KEY (tenant_id, payment_id)
    REFERENCES payments (tenant_id, id),
    CONSTRAINT payment_refunds_amount_check CHECK (amount_minor > 0),
    CONSTRAINT payment_refunds_fee_check CHECK (fee_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT payment_refunds_reason_check CHECK (
        reason IN ('duplicate', 'fraudulent', 'requested_by_customer', 'other')
    ),
    CONSTRAINT payment_refunds_status_check CHECK (status IN ('pending', 'succeeded', 'failed'))
);
CREATE INDEX payment_refunds_payment_idx ON payment_refunds (tenant_id, payment_id, id);
CREATE UNIQUE INDEX payment_refunds_reference_key
ON payment_refunds (tenant_id, payment_id, reference) WHERE reference IS NOT NULL;

CREATE TABLE payment_disputes (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    reference text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint NOT NULL DEFAULT 0,
    reason text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    evidence_due_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT payment_disputes_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payment_disputes_payment_fkey FOREIGN KEY (tenant_id, payment_id)
    REFERENCES payments (tenant_id, id),
    CONSTRAINT payment_disputes_reference_key UNIQUE (tenant_id, payment_id, reference),
    CONSTRAINT payment_disputes_amount_check CHECK (amount_minor > 0),
    CONSTRAINT payment_disputes_fee_check CHECK (fee_minor >= 0),
    CONSTRAINT payment_disputes_status_check CHECK (status IN ('open', 'won', 'lost'))
);

-- The primary key decides whether a request is new, in the transaction of its effect: that, not
-- Redis, is what makes a retry harmless. Only finished requests have a row; nothing can get stuck.
CREATE TABLE idempotency_keys (
    tenant_id text COLLATE "C" NOT NULL,
    -- Whose key it is: user:<id>, key:<principal_id>, job:<name>.
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- Method and path with its ids: a key used elsewhere is a mistake of the client.
    operation text NOT NULL,
    fingerprint bytea NOT NULL,
    fingerprint_version smallint NOT NULL,
    kind text NOT NULL,
    status smallint,
    answer jsonb,
    resource_type text,
    resource_id uuid,
    request_id text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, scope, key),
    CONSTRAINT idempotency_keys_key_check CHECK (octet_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_fingerprint_check CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT idempotency_keys_kind_check CHECK (kind IN ('completed', 'cancelled')),
    CONSTRAINT idempotency_keys_answer_check CHECK (
        kind <> 'completed' OR (status IS NOT NULL AND answer IS NOT NULL)
    )
);
CREATE INDEX idempotency_keys_expires_idx ON idempotency_keys (tenant_id, expires_at);
