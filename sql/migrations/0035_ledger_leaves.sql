-- What a transaction is to the outside: the leaf that is hashed into the tenant's Merkle log.

-- When a hold expires, so that its row can be made anew from its header.
ALTER TABLE ledger_transactions ADD COLUMN expires_at timestamptz;

-- The hash over a full tile: the tile above it is made of these before it is full itself.
ALTER TABLE ledger_tiles ADD COLUMN root bytea NOT NULL DEFAULT '';

-- Which public keys have signed checkpoints, and when.
CREATE TABLE ledger_seal_keys (
    tenant_id text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT now(),
    -- NULL: it signs still.
    valid_until timestamptz,
    CONSTRAINT ledger_seal_keys_pkey PRIMARY KEY (tenant_id, public_key),
    CONSTRAINT ledger_seal_keys_length_check CHECK (octet_length(public_key) = 32)
);

-- The leaf as canonical JSON (RFC 8785): names in order, nulls left out, UTC with six digits.
-- `legs` comes from outside, [debit, credit, currency, amount] each with commas between, since a
-- function that reads tables is not inlined and costs a plan a row.
CREATE FUNCTION ledger_leaf(t ledger_transactions, legs text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN
    '{"actor":' || to_json(t.actor)
    || ',"effective_at":"'
    || to_char(t.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"'
    || coalesce(
        ',"expires_at":"'
        || to_char(t.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"', ''
    )
    || ',"final":' || t.final
    || ',"forced":' || t.forced
    || coalesce(',"hold_id":"' || t.hold_id || '"', '')
    || ',"id":"' || t.id || '","kind":"' || t.kind || '","legs":[' || legs || ']'
    || coalesce(',"metadata_sha256":"' || encode(t.metadata_hash, 'hex') || '"', '')
    || ',"posted_at":"'
    || to_char(t.posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"'
    || coalesce(',"reason":' || to_json(t.reason), '')
    || coalesce(',"reference":' || to_json(t.reference), '')
    || coalesce(',"released":' || t.released, '')
    || coalesce(',"request_sha256":"' || encode(t.request_hash, 'hex') || '"', '')
    || coalesce(',"reverses":"' || t.reverses || '"', '')
    || ',"status":"' || t.status || '","tenant":' || to_json(t.tenant_id) || ',"v":1}';
