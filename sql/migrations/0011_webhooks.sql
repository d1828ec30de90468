-- 0011_webhooks: who is told of events, and what became of each telling.

-- Deleted ones stay, without their secrets: their deliveries are a record.
CREATE TYPE webhook_endpoint_status AS ENUM ('active', 'disabled', 'deleted');
CREATE TYPE webhook_disabled_reason AS ENUM ('by_request', 'gone', 'failing');
CREATE TYPE webhook_delivery_state AS ENUM ('pending', 'delivered', 'failed');

CREATE TABLE webhook_endpoints (
    tenant_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    url text NOT NULL,
    description text,
    -- Empty: all types, those of later releases too.
    event_types text[] NOT NULL DEFAULT '{}',
    -- Sealed with the endpoint's name under a key that is not in the database; empty: deleted.
    secret_enc bytea NOT NULL,
    -- Signs beside the new one until then, so that a receiver can change over.
    previous_secret_enc bytea,
    previous_until timestamptz,
    status webhook_endpoint_status NOT NULL DEFAULT 'active',
    disabled_reason webhook_disabled_reason,
    -- Since when no attempt was answered by 2xx; NULL: the last one was, or there was none.
    failing_since timestamptz,
    last_success_at timestamptz,
    -- The last event of the feed for which this endpoint has its delivery.
    position_epoch smallint NOT NULL,
    position_xid xid8 NOT NULL,
    position_payment_id uuid NOT NULL,
    position_seq bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT webhook_endpoints_url_check CHECK (char_length(url) BETWEEN 1 AND 2048),
    CONSTRAINT webhook_endpoints_secret_check CHECK (
        (status = 'deleted') = (secret_enc = '')
    ),
    CONSTRAINT webhook_endpoints_previous_check CHECK (
        (previous_secret_enc IS NULL) = (previous_until IS NULL)
    ),
    CONSTRAINT webhook_endpoints_disabled_check CHECK (
        (status = 'disabled') = (disabled_reason IS NOT NULL)
    )
) WITH (fillfactor = 50);  -- Its position moves all the time.

-- One row per event and endpoint. No foreign key to events, as nowhere: sql/checks prove the link.
CREATE TABLE webhook_deliveries (
    tenant_id text COLLATE "C" NOT NULL,
    endpoint_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    seq bigint NOT NULL,
    state webhook_delivery_state NOT NULL DEFAULT 'pending',
    attempts smallint NOT NULL DEFAULT 0,
    -- NULL: it is over, or an earlier event of the same payment has to be delivered first.
    next_attempt_at timestamptz,
    -- Who holds the token may write the outcome: a worker that was too slow may not.
    lease_token uuid,
    lease_until timestamptz,
    last_attempt_at timestamptz,
    last_status smallint,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_deliveries_endpoint_fkey FOREIGN KEY (tenant_id, endpoint_id)
    REFERENCES webhook_endpoints (tenant_id, id),
    CONSTRAINT webhook_deliveries_next_check CHECK (
        state = 'pending' OR next_attempt_at IS NULL
    ),
    CONSTRAINT webhook_deliveries_lease_check CHECK (
        (lease_token IS NULL) = (lease_until IS NULL)
    )
) WITH (fillfactor = 80);
-- For the job: what an endpoint is owed now.
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (tenant_id, endpoint_id, next_attempt_at)
WHERE next_attempt_at IS NOT NULL;
-- For people: what an endpoint was sent, newest first.
CREATE INDEX webhook_deliveries_log_idx
ON webhook_deliveries (tenant_id, endpoint_id, created_at, payment_id, seq);
-- For sending again what was given up: there is little of it.
CREATE INDEX webhook_deliveries_failed_idx ON webhook_deliveries (tenant_id, endpoint_id, created_at)
WHERE state = 'failed';
ALTER TABLE webhook_deliveries ADD CONSTRAINT webhook_deliveries_pkey
PRIMARY KEY (tenant_id, endpoint_id, payment_id, seq);
