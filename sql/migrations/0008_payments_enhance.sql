-- Payments, what happened to them, and the keys that make a retry harmless.

CREATE TYPE payment_status AS ENUM (
    'created', 'authorized', 'partially_captured', 'captured', 'voided', 'expired', 'cancelled',
    'failed', 'partially_refunded', 'refunded', 'disputed', 'partially_charged_back', 'charged_back'
);
CREATE TYPE payment_capture_method AS ENUM ('manual', 'manual_multiple', 'automatic');
CREATE TYPE payment_end_reason AS ENUM ('cancelled', 'failed', 'expired', 'voided');
CREATE TYPE idempotency_kind AS ENUM ('completed', 'cancelled');

-- The status is a pure function of the amounts, so a command cannot set one that the money
-- does not justify. services/payments.py says the same in Python; a test compares the two.
-- PL/pgSQL, since PostgreSQL parses every CHECK anew in each statement: an inlined SQL function
-- cost a capture 0.1 ms (ADR 0012).
CREATE FUNCTION payment_status_of(
    authorized bigint, captured bigint, voided bigint, refunded bigint, disputed bigint,
    charged_back bigint, end_reason payment_end_reason
) RETURNS payment_status
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE
        WHEN disputed > 0 THEN 'disputed'
        WHEN charged_back > 0 AND captured = refunded + charged_back
            AND authorized = captured + voided THEN 'charged_back'
        WHEN charged_back > 0 THEN 'partially_charged_back'
        WHEN refunded > 0 AND captured = refunded AND authorized = captured + voided
            THEN 'refunded'
        WHEN refunded > 0 THEN 'partially_refunded'
        WHEN captured > 0 AND authorized > captured + voided THEN 'partially_captured'
        WHEN captured > 0 THEN 'captured'
        WHEN end_reason IS NOT NULL THEN end_reason::text
        WHEN authorized > 0 THEN 'authorized'
        ELSE 'created'
    END::payment_status;
END
$$;

-- A payment has an end reason when it is over and nothing was captured, and only then: cancelled
-- or failed before the authorisation, voided or expired after it.
CREATE FUNCTION payment_end_reason_fits(
    authorized bigint, captured bigint, voided bigint, end_reason payment_end_reason
) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN CASE
        WHEN authorized = 0 THEN end_reason IS NULL OR end_reason IN ('cancelled', 'failed')
        WHEN captured = 0 AND voided = authorized
            THEN end_reason IS NOT NULL AND end_reason IN ('voided', 'expired')
        ELSE end_reason IS NULL
    END;
END
$$;

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
    CONSTRAINT payments_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    -- 2^53 bounds what every JSON client reads exactly; 10^15 - 1 is below it, and nine thousand
    -- of the largest fit one balance.
    CONSTRAINT payments_amount_check CHECK (amount_minor BETWEEN 1 AND 999999999999999),
    CONSTRAINT payments_counters_check CHECK (
        least(
            authorized_minor, captured_minor, voided_minor, refunded_minor, disputed_minor,
            charged_back_minor, fee_minor, fee_refunded_minor
        ) >= 0
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
        payment_end_reason_fits(authorized_minor, captured_minor, voided_minor, end_reason)
    )
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
-- The primary key comes last: where costs tie, as on an empty table, PostgreSQL takes the newest
-- index, and another one would be read by tenant alone until the first ANALYZE.
ALTER TABLE payments ADD CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, id);

-- A payment as it is answered and stored with its key: one list of columns for every statement.
-- What may leave the service is decided by the answer's model, not here.
CREATE FUNCTION payment_json(p payments) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'id', p.id,
    'user_id', p.user_id,
    'legacy_id', p.legacy_id,
    'reference', p.reference,
    'amount_minor', p.amount_minor,
    'currency', p.currency,
    'capture_method', p.capture_method,
    'gateway', p.gateway,
    'gateway_reference', p.gateway_reference,
    'description', p.description,
    'metadata', p.metadata,
    'status', p.status,
    'end_reason', p.end_reason,
    'failure_code', p.failure_code,
    'failure_message', p.failure_message,
    'capture_before', p.capture_before,
    'authorized_minor', p.authorized_minor,
    'captured_minor', p.captured_minor,
    'voided_minor', p.voided_minor,
    'refunded_minor', p.refunded_minor,
    'disputed_minor', p.disputed_minor,
    'charged_back_minor', p.charged_back_minor,
    'fee_minor', p.fee_minor,
    'fee_refunded_minor', p.fee_refunded_minor,
    'version', p.version,
    'created_at', p.created_at,
    'updated_at', p.updated_at
);

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
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
-- The order of the event feed: commits in flight cannot appear behind a reader's cursor.
CREATE INDEX payment_events_feed_idx ON payment_events (tenant_id, epoch, xid, payment_id, seq);
ALTER TABLE payment_events ADD CONSTRAINT payment_events_pkey PRIMARY KEY (tenant_id, payment_id, seq);

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
    CONSTRAINT payment_captures_amount_check CHECK (
        amount_minor > 0 AND fee_minor >= 0 AND fee_minor <= amount_minor
    )
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
    kind idempotency_kind NOT NULL,
    status smallint,
    answer jsonb,
    resource_type text,
    resource_id uuid,
    request_id text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_answer_check CHECK ((kind = 'completed') = (answer IS NOT NULL))
);
CREATE INDEX idempotency_keys_expires_idx ON idempotency_keys (tenant_id, expires_at);
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, scope, key);
