-- What sql/migrations add up to, written by `flask migrate schema`: to be read, not to be edited.
-- tests/contract/test_schema_snapshot.py and `flask migrate verify --schema` compare it.

CREATE TYPE public.idempotency_kind AS ENUM (
    'completed',
    'cancelled'
);

CREATE TYPE public.ledger_account_status AS ENUM (
    'open',
    'frozen',
    'closed'
);

CREATE TYPE public.ledger_kind AS ENUM (
    'post',
    'hold',
    'capture',
    'void',
    'expire',
    'reverse',
    'adjust',
    'change'
);

CREATE TABLE public.ledger_balances (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    account_id bigint NOT NULL,
    stripe smallint DEFAULT 0 NOT NULL,
    currency character(3) NOT NULL,
    normal_side smallint NOT NULL,
    status public.ledger_account_status DEFAULT 'open'::public.ledger_account_status NOT NULL,
    floor bigint DEFAULT 0,
    ceiling bigint,
    debits_posted bigint DEFAULT 0 NOT NULL,
    credits_posted bigint DEFAULT 0 NOT NULL,
    debits_pending bigint DEFAULT 0 NOT NULL,
    credits_pending bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    last_posted_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT ledger_balances_counters_check CHECK (((LEAST(debits_posted, credits_posted, debits_pending, credits_pending) >= 0) AND (GREATEST(debits_posted, credits_posted, debits_pending, credits_pending) <= '4611686018427387904'::bigint)))
)
WITH (fillfactor='70');

CREATE TYPE public.ledger_locked AS (
	place bigint,
	balance public.ledger_balances,
	code text,
	stripes smallint
);

CREATE TYPE public.ledger_outcome AS ENUM (
    'applied',
    'rejected'
);

CREATE TYPE public.ledger_result AS (
	n integer,
	outcome text,
	code text,
	pointer text,
	posted_at timestamp with time zone,
	facts jsonb,
	expires_at timestamp with time zone
);

CREATE TYPE public.payment_capture_method AS ENUM (
    'manual',
    'manual_multiple',
    'automatic'
);

CREATE TYPE public.payment_end_reason AS ENUM (
    'cancelled',
    'failed',
    'expired',
    'voided'
);

CREATE TYPE public.payment_status AS ENUM (
    'created',
    'authorized',
    'partially_captured',
    'captured',
    'voided',
    'expired',
    'cancelled',
    'failed',
    'partially_refunded',
    'refunded',
    'disputed',
    'partially_charged_back',
    'charged_back'
);

CREATE TYPE public.webhook_delivery_state AS ENUM (
    'pending',
    'delivered',
    'failed'
);

CREATE TYPE public.webhook_disabled_reason AS ENUM (
    'by_request',
    'gone',
    'failing'
);

CREATE TYPE public.webhook_endpoint_status AS ENUM (
    'active',
    'disabled',
    'deleted'
);

CREATE FUNCTION public.begin_event_epoch(begun_by text) RETURNS smallint
    LANGUAGE plpgsql
    AS $$
BEGIN
    LOCK TABLE payments IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO settings AS s (tenant_id, name, value, updated_by)
    VALUES ('-', 'event_epoch', to_jsonb(event_epoch() + 1), begun_by)
    ON CONFLICT (tenant_id, name) DO UPDATE
    SET
        value = excluded.value, version = s.version + 1, updated_by = excluded.updated_by,
        updated_at = now();
    RETURN event_epoch();
END
$$;

CREATE FUNCTION public.event_epoch() RETURNS smallint
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT s.value::smallint
            FROM settings AS s
            WHERE s.tenant_id = '-' AND s.name = 'event_epoch'
        ),
        1
    );
END
$$;

CREATE FUNCTION public.ledger_available(b public.ledger_balances) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT
        b.normal_side * (b.credits_posted - b.debits_posted)
        - CASE b.normal_side WHEN 1 THEN b.debits_pending ELSE b.credits_pending END
$$;

CREATE FUNCTION public.ledger_broken_limit(before public.ledger_balances, after public.ledger_balances) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT
        CASE
            -- As the counters' CHECK, but for this item alone: it takes down no batch (LP11).
            WHEN
                greatest(
                    after.debits_posted, after.credits_posted, after.debits_pending,
                    after.credits_pending
                ) > 4611686018427387904
                THEN 'amount_overflow'
            WHEN
                ledger_available(after) < after.floor
                AND ledger_available(after) < ledger_available(before)
                THEN 'insufficient_funds'
            WHEN
                ledger_reachable(after) > after.ceiling
                AND ledger_reachable(after) > ledger_reachable(before)
                THEN 'ceiling_exceeded'
        END
$$;

CREATE TABLE public.ledger_transactions (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    kind public.ledger_kind NOT NULL,
    status public.ledger_outcome NOT NULL,
    reason text,
    reference text COLLATE pg_catalog."C",
    hold_id uuid,
    reverses uuid,
    final boolean DEFAULT true NOT NULL,
    forced boolean DEFAULT false NOT NULL,
    posted_at timestamp with time zone NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    debit_accounts bigint[] NOT NULL,
    credit_accounts bigint[] NOT NULL,
    amounts bigint[] NOT NULL,
    stripes smallint[],
    released bigint,
    request_hash bytea,
    metadata jsonb,
    metadata_hash bytea,
    actor text NOT NULL,
    request_id text NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT ledger_transactions_legs_check CHECK (((cardinality(debit_accounts) = cardinality(amounts)) AND (cardinality(credit_accounts) = cardinality(amounts)) AND (0 < ALL (amounts))))
);

CREATE FUNCTION public.ledger_leaf(t public.ledger_transactions, legs text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((((((((((((((((((((((((((((((('{"actor":'::text || to_json((t).actor)) || ',"effective_at":"'::text) || to_char(((t).effective_at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text)) || '"'::text) || COALESCE(((',"expires_at":"'::text || to_char(((t).expires_at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text)) || '"'::text), ''::text)) || ',"final":'::text) || (t).final) || ',"forced":'::text) || (t).forced) || COALESCE(((',"hold_id":"'::text || (t).hold_id) || '"'::text), ''::text)) || ',"id":"'::text) || (t).id) || '","kind":"'::text) || (t).kind) || '","legs":['::text) || legs) || ']'::text) || COALESCE(((',"metadata_sha256":"'::text || encode((t).metadata_hash, 'hex'::text)) || '"'::text), ''::text)) || ',"posted_at":"'::text) || to_char(((t).posted_at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text)) || '"'::text) || COALESCE((',"reason":'::text || to_json((t).reason)), ''::text)) || COALESCE((',"reference":'::text || to_json((t).reference)), ''::text)) || COALESCE((',"released":'::text || (t).released), ''::text)) || COALESCE(((',"request_sha256":"'::text || encode((t).request_hash, 'hex'::text)) || '"'::text), ''::text)) || COALESCE(((',"reverses":"'::text || (t).reverses) || '"'::text), ''::text)) || ',"status":"'::text) || (t).status) || '","tenant":'::text) || to_json((t).tenant_id)) || ',"v":1}'::text);

CREATE FUNCTION public.ledger_levels(balances public.ledger_balances[], account_ids bigint[], main_count integer) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
DECLARE
    b ledger_balances;
    main integer;
    amount bigint;
    levels jsonb := '[]';
BEGIN
    FOR other IN main_count + 1 .. cardinality(balances) LOOP
        b := balances[other];
        main := array_position(account_ids, b.account_id);
        amount := CASE
            WHEN b.floor IS NULL THEN b.normal_side * (b.credits_posted - b.debits_posted)
            ELSE ledger_available(b) - b.floor
        END;
        IF amount <> 0 THEN
            levels := levels || jsonb_build_object(
                'id', gen_random_uuid(), 'kind', 'post', 'level', true,
                'debits', ARRAY[CASE WHEN amount * b.normal_side > 0 THEN other ELSE main END],
                'credits', ARRAY[CASE WHEN amount * b.normal_side > 0 THEN main ELSE other END],
                'amounts', ARRAY[abs(amount)], 'metadata', jsonb_build_object('reason', 'stripes'),
                'metadata_hash', sha256('{"reason":"stripes"}')
            );
        END IF;
    END LOOP;
    RETURN levels;
END
$$;

CREATE FUNCTION public.ledger_lock(tenant text, request jsonb) RETURNS public.ledger_locked[]
    LANGUAGE plpgsql
    AS $$
DECLARE
    thread CONSTANT integer := (request ->> 'stripe')::integer;
    level CONSTANT boolean := request ? 'level';
    gather CONSTANT boolean := level OR request ? 'gather';
    origins CONSTANT uuid[] := ARRAY(SELECT jsonb_array_elements_text(request -> 'origins'));
    found ledger_locked[];
BEGIN
    IF request ? 'backdated' THEN
        PERFORM FROM ledger_settings AS s WHERE s.tenant_id = tenant FOR SHARE;
    END IF;
    IF request ? 'accounts' THEN
        SELECT array_agg(ROW(q.place, q.balance, q.code, q.stripes)::ledger_locked) INTO found
        FROM (
            SELECT
                CASE WHEN b.stripe = thread % a.stripes THEN x.place END AS place, b AS balance,
                a.code, a.stripes
            FROM jsonb_array_elements(request -> 'accounts')
            WITH ORDINALITY AS x (account, place)
            INNER JOIN ledger_accounts AS a
                ON
                    a.tenant_id = tenant AND a.code = x.account ->> 0
                    AND a.currency = (x.account ->> 1)::char(3)
            INNER JOIN ledger_balances AS b
                ON
                    b.tenant_id = tenant AND b.account_id = a.account_id
                    AND (
                        b.stripe = thread % a.stripes
                        OR (gather AND (level OR b.floor IS NOT NULL))
                    )
            ORDER BY b.account_id, b.stripe
            FOR NO KEY UPDATE OF b
        ) AS q;
        RETURN found;
    END IF;
    PERFORM FROM ledger_holds AS x
    WHERE x.tenant_id = tenant AND x.hold_id = any(origins)
    ORDER BY x.hold_id
    FOR UPDATE;
    -- A hold says which stripes it is on; what reverses a posting may go to any.
    SELECT array_agg(ROW(q.place, q.balance, q.code, q.stripes)::ledger_locked) INTO found
    FROM (
        SELECT
            CASE WHEN b.stripe = x.stripe THEN x.place END AS place, b AS balance, x.code, x.stripes
        FROM (
            SELECT d.account_id, d.stripe, d.code, d.stripes, row_number() OVER () AS place
            FROM (
                SELECT DISTINCT
                    v.account_id, a.code, a.stripes,
                    CASE t.kind WHEN 'hold' THEN coalesce(v.stripe, 0) ELSE thread % a.stripes END
                        AS stripe
                FROM (SELECT DISTINCT o.id FROM unnest(origins) AS o (id)) AS o
                CROSS JOIN LATERAL (
                    SELECT x.kind, x.stripes, x.debit_accounts, x.credit_accounts
                    FROM ledger_transactions AS x
                    WHERE x.tenant_id = tenant AND x.id = o.id
                    LIMIT 1
                ) AS t
                CROSS JOIN LATERAL (
                    SELECT u.account_id, t.stripes[1][1] AS stripe
                    FROM unnest(t.debit_accounts) AS u (account_id)
                    UNION ALL
                    SELECT u.account_id, t.stripes[1][2] AS stripe
                    FROM unnest(t.credit_accounts) AS u (account_id)
                ) AS v
                INNER JOIN ledger_accounts AS a
                    ON a.tenant_id = tenant AND a.account_id = v.account_id
            ) AS d
        ) AS x
        INNER JOIN ledger_balances AS b
            ON
                b.tenant_id = tenant AND b.account_id = x.account_id
                AND (b.stripe = x.stripe OR (gather AND b.floor IS NOT NULL))
        ORDER BY b.account_id, b.stripe
        FOR NO KEY UPDATE OF b
    ) AS q;
    RETURN found;
END
$$;

CREATE FUNCTION public.ledger_matches(t public.ledger_transactions, wanted jsonb) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT
        coalesce(t.kind::text = wanted ->> 'kind', true)
        AND coalesce(t.status::text = wanted ->> 'status', true)
        AND coalesce(t.actor = wanted ->> 'actor', true)
        AND (
            NOT wanted ? 'reference_from'
            OR coalesce(
                t.reference >= wanted ->> 'reference_from'
                AND t.reference < wanted ->> 'reference_to', false
            )
        )
        AND (NOT wanted ? 'hold_id' OR t.hold_id IS NOT DISTINCT FROM (wanted ->> 'hold_id')::uuid)
        AND (
            NOT wanted ? 'reverses' OR t.reverses IS NOT DISTINCT FROM (wanted ->> 'reverses')::uuid
        )
        AND coalesce(t.effective_at >= (wanted ->> 'effective_gte')::timestamptz, true)
        AND coalesce(t.effective_at < (wanted ->> 'effective_lt')::timestamptz, true)
        AND (NOT wanted ? 'metadata' OR coalesce(t.metadata @> (wanted -> 'metadata'), false))
        AND (
            NOT wanted ?| ARRAY['amount_gte', 'amount_lte']
            OR EXISTS (
                SELECT FROM unnest(t.amounts) AS x (amount)
                WHERE
                    coalesce(x.amount >= (wanted ->> 'amount_gte')::bigint, true)
                    AND coalesce(x.amount <= (wanted ->> 'amount_lte')::bigint, true)
            )
        )
        AND (
            NOT wanted ?| ARRAY['prefix', 'currency']
            OR EXISTS (
                SELECT FROM ledger_accounts AS a
                WHERE
                    a.tenant_id = t.tenant_id
                    AND a.account_id = any(t.debit_accounts || t.credit_accounts)
                    AND coalesce(a.currency = wanted ->> 'currency', true)
                    AND coalesce(starts_with(a.code, wanted ->> 'prefix'), true)
            )
        )
$$;

CREATE FUNCTION public.ledger_overdue(tenant text, b public.ledger_balances, code text, clock timestamp with time zone, OUT hold_ids jsonb, OUT remaining bigint) RETURNS record
    LANGUAGE sql STABLE
    AS $$
    SELECT jsonb_agg(q.hold_id), coalesce(sum(q.remaining), 0)::bigint
    FROM (
        SELECT h.hold_id, h.remaining
        FROM ledger_holds AS h
        WHERE
            h.tenant_id = tenant AND h.expires_at <= clock
            AND CASE
                WHEN (code = 'insufficient_funds') = (b.normal_side = 1) THEN h.debit_account
                ELSE h.credit_account
            END = b.account_id
        ORDER BY h.expires_at
        LIMIT 500
    ) AS q
$$;

CREATE FUNCTION public.ledger_post(tenant text, request jsonb) RETURNS SETOF public.ledger_result
    LANGUAGE plpgsql
    AS $$
DECLARE
    microsecond CONSTANT interval := '1 microsecond';
    stored_codes CONSTANT text[] := ARRAY[
        'account_frozen', 'account_closed', 'hold_resolved', 'hold_expired', 'already_reversed',
        'not_reversible', 'insufficient_funds', 'ceiling_exceeded', 'amount_overflow',
        'capture_exceeds_hold'
    ];
    dry_run CONSTANT boolean := request ? 'dry_run';
    detail CONSTANT boolean := request ? 'detail';
    oldest CONSTANT interval := make_interval(days => (request ->> 'backdate_max_days')::integer);
    clock timestamptz;
    latest timestamptz;
    closed_through date;

    -- The locked rows by place, as they are after the items so far. Behind those of `accounts`
    -- stand more stripes of theirs.
    locked ledger_locked[];
    balances ledger_balances[];
    codes text[];
    stripes smallint[];
    -- What a place is found by: the account, where it is the only stripe, or account and stripe.
    account_ids bigint[];
    keys bigint[];
    main_count integer;
    row_count integer;
    levels jsonb;
    level_count integer := 0;
    items jsonb;

    -- What will be written. What stands beyond a count was taken back.
    headers ledger_transactions[];
    header_count integer := 0;
    entries ledger_entries[];
    entry_count integer := 0;
    holds ledger_holds[];
    created integer := 0;
    results ledger_result[];

    -- Rows before each item that changed them: to compare, and to take items back.
    saved ledger_balances[];
    saved_places integer[];
    save_count integer := 0;
    touched integer[];

    party integer;
    party_failed boolean;
    party_first integer;
    party_headers integer;
    party_entries integer;
    party_saves integer;
    party_created integer;
    -- By item: the header that holds its id, the header that holds its reference.
    id_headers integer[];
    reference_headers integer[];

    item record;
    n integer;
    item_saves integer;
    item_entries integer;
    known ledger_transactions;
    h ledger_transactions;
    hold ledger_holds;
    b ledger_balances;
    e ledger_entries;
    r ledger_result;
    bad text;
    debits integer[];
    credits integer[];
    amounts bigint[];
    posted bigint;
    pending bigint;
    is_striped boolean;
    overdue jsonb;
    overdue_minor bigint;
    claim jsonb;
    side smallint;
    k integer;
    l integer;
BEGIN
    -- 1. Lock. The clock comes after the locks and after our transaction id: whoever reads up to
    -- a watermark relies on both (LP4, LT4).
    locked := ledger_lock(tenant, request);
    PERFORM pg_current_xact_id();
    clock := clock_timestamp();
    latest := clock;
    IF request ? 'backdated' THEN
        SELECT s.closed_through INTO closed_through
        FROM ledger_settings AS s WHERE s.tenant_id = tenant;
    END IF;

    -- 2. Put the rows where items look for them.
    main_count := jsonb_array_length(request -> 'accounts');
    IF main_count IS NULL THEN
        SELECT coalesce(max(x.place), 0) INTO main_count FROM unnest(locked) AS x;
    END IF;
    row_count := main_count;
    FOR i IN 1 .. coalesce(cardinality(locked), 0) LOOP
        b := (locked[i]).balance;
        k := (locked[i]).place;
        IF k IS NULL THEN
            row_count := row_count + 1;
            k := row_count;
        ELSE
            account_ids[k] := b.account_id;
        END IF;
        balances[k] := b;
        codes[k] := (locked[i]).code;
        stripes[k] := (locked[i]).stripes;
        keys[k] := b.account_id * 64 + b.stripe;
    END LOOP;
    items := coalesce(request -> 'items', '[]');
    IF row_count > main_count THEN
        levels := ledger_levels(balances, account_ids, main_count);
        level_count := jsonb_array_length(levels);
        items := levels || items;
    END IF;

    -- 3. Decide item by item, each on what those before it have left.
    FOR item IN
        SELECT
            q.id, q.kind, q.stored, q.level, q.hash, q.reference, q.effective_at, q.metadata,
            q.metadata_hash, q.debits, q.credits, q.amounts, q.expect, q.twin, q.reference_twin,
            q.party, q.hold_id, q.reverses, q.final, q.amount, q.expires_in_s,
            q.ordinality - level_count AS n, t.header AS known, u.id AS reference_id
        FROM ROWS FROM (
            jsonb_to_recordset(items) AS (
                id uuid, kind ledger_kind, stored boolean, level boolean, hash bytea,
                reference text, effective_at timestamptz, metadata jsonb, metadata_hash bytea,
                debits integer[], credits integer[], amounts bigint[], expect bigint[],
                twin integer, reference_twin integer, party integer, hold_id uuid, reverses uuid,
                final boolean, amount bigint, expires_in_s integer
            )
        ) WITH ORDINALITY AS q
        -- Asked for each item, so that the plan goes by index from the first row on (ADR 0017).
        LEFT JOIN LATERAL (
            SELECT x AS header
            FROM ledger_transactions AS x
            WHERE x.tenant_id = tenant AND x.id = q.id
            LIMIT 1
        ) AS t ON true
        LEFT JOIN LATERAL (
            SELECT x.id
            FROM ledger_transactions AS x
            WHERE x.tenant_id = tenant AND x.reference = q.reference AND x.status = 'applied'
            LIMIT 1
        ) AS u ON true
    LOOP
        n := item.n;
        bad := NULL;
        r := ROW(n, NULL, NULL, NULL, NULL, NULL, NULL);
        item_saves := save_count;
        item_entries := entry_count;
        id_headers[n] := id_headers[item.twin];
        reference_headers[n] := reference_headers[item.reference_twin];
        IF item.party IS NULL OR item.party IS DISTINCT FROM party THEN
            party := item.party;
            party_failed := false;
            party_first := n;
            party_headers := header_count;
            party_entries := entry_count;
            party_saves := save_count;
            party_created := created;
        ELSIF party_failed THEN
            r.outcome := 'invalid';
            r.code := 'group_failed';
            results[n] := r;
            CONTINUE;
        END IF;

        h := NULL;
        h.id := item.id;
        h.kind := item.kind;
        h.status := 'applied';
        h.reference := item.reference;
        h.hold_id := CASE item.kind WHEN 'hold' THEN item.id ELSE item.hold_id END;
        h.reverses := item.reverses;
        h.final := coalesce(item.final, true);
        h.forced := false;
        h.posted_at := latest;
        h.effective_at := coalesce(item.effective_at, latest);
        h.debit_accounts := '{}';
        h.credit_accounts := '{}';
        h.amounts := '{}';
        h.request_hash := item.hash;
        h.metadata := item.metadata;
        h.metadata_hash := item.metadata_hash;
        h.actor := request ->> 'actor';
        h.request_id := request ->> 'request_id';

        <<look>>
        BEGIN
            -- Its id.
            known := item.known;
            IF id_headers[n] IS NOT NULL THEN
                known := headers[id_headers[n]];
            END IF;
            IF known.id IS NOT NULL THEN
                IF known.request_hash = item.hash THEN
                    r.outcome := 'existing';
                    r.posted_at := known.posted_at;
                    bad := known.reason;
                ELSE
                    r.outcome := 'conflict';
                    bad := 'transaction_id_reused';
                END IF;
                EXIT look;
            END IF;

            -- Its legs: its own, or those of what it resolves or reverses.
            debits := item.debits;
            credits := item.credits;
            amounts := item.amounts;
            hold := NULL;
            IF item.hold_id IS NOT NULL OR item.reverses IS NOT NULL THEN
                SELECT t.* INTO known
                FROM ledger_transactions AS t
                WHERE t.tenant_id = tenant AND t.id = coalesce(item.hold_id, item.reverses);
                IF
                    NOT FOUND
                    OR (item.hold_id IS NOT NULL AND (known.kind, known.status) <> ('hold', 'applied'))
                THEN
                    bad := 'not_found';
                    EXIT look;
                END IF;
            END IF;
            IF item.hold_id IS NOT NULL THEN
                SELECT x.* INTO hold
                FROM ledger_holds AS x
                WHERE x.tenant_id = tenant AND x.hold_id = item.hold_id;
                debits := ARRAY[array_position(
                    keys, known.debit_accounts[1] * 64 + coalesce(known.stripes[1][1], 0)
                )];
                credits := ARRAY[array_position(
                    keys, known.credit_accounts[1] * 64 + coalesce(known.stripes[1][2], 0)
                )];
                amounts := ARRAY[coalesce(item.amount, hold.remaining, known.amounts[1])];
            ELSIF item.reverses IS NOT NULL THEN
                debits := ARRAY(
                    SELECT array_position(account_ids, x.id)
                    FROM unnest(known.credit_accounts) WITH ORDINALITY AS x (id, leg)
                    ORDER BY x.leg
                );
                credits := ARRAY(
                    SELECT array_position(account_ids, x.id)
                    FROM unnest(known.debit_accounts) WITH ORDINALITY AS x (id, leg)
                    ORDER BY x.leg
                );
                amounts := known.amounts;
            END IF;

            -- Its accounts, then their currency. What it resolves may have come while we locked.
            FOR i IN 1 .. 2 * cardinality(amounts) LOOP
                l := (i + 1) / 2;
                k := CASE i % 2 WHEN 1 THEN debits[l] ELSE credits[l] END;
                IF k IS NULL THEN
                    bad := 'not_found';
                    EXIT look;
                ELSIF (balances[k]).account_id IS NULL THEN
                    PERFORM FROM ledger_accounts AS a
                    WHERE a.tenant_id = tenant AND a.code = request #>> ARRAY['accounts', (k - 1)::text, '0'];
                    IF bad IS NULL OR NOT FOUND THEN
                        r.pointer := format(
                            '/legs/%s/%s', l - 1, CASE i % 2 WHEN 1 THEN 'debit' ELSE 'credit' END
                        );
                        bad := CASE WHEN FOUND THEN 'currency_mismatch' ELSE 'account_not_found' END;
                    END IF;
                    EXIT look WHEN bad = 'account_not_found';
                ELSE
                    h.posted_at := greatest(
                        h.posted_at, (balances[k]).last_posted_at + microsecond
                    );
                END IF;
            END LOOP;
            EXIT look WHEN bad IS NOT NULL;

            -- Its time, its reference, what it expects.
            h.effective_at := coalesce(item.effective_at, h.posted_at);
            IF item.effective_at > h.posted_at THEN
                bad := 'effective_at_in_future';
            ELSIF item.effective_at < h.posted_at - oldest THEN
                bad := 'effective_at_too_old';
            ELSIF (item.effective_at AT TIME ZONE 'UTC')::date <= closed_through THEN
                bad := 'period_closed';
            END IF;
            IF bad IS NOT NULL THEN
                r.pointer := '/effective_at';
                EXIT look;
            END IF;
            IF coalesce(item.reference_id, (headers[reference_headers[n]]).id) IS NOT NULL THEN
                bad := 'duplicate_reference';
                r.facts := jsonb_build_object(
                    'resource_id', coalesce(item.reference_id, (headers[reference_headers[n]]).id)
                );
                r.pointer := '/reference';
                EXIT look;
            END IF;
            FOR i IN 1 .. coalesce(array_length(item.expect, 1), 0) LOOP
                k := item.expect[i][1];
                IF (balances[k]).account_id IS NULL THEN
                    bad := 'account_not_found';
                    r.pointer := format('/expect/%s/account', i - 1);
                ELSIF stripes[k] > 1 OR (balances[k]).version <> item.expect[i][2] THEN
                    bad := 'expectation_failed';
                    r.facts := jsonb_build_object('current_version', (balances[k]).version);
                    r.pointer := format('/expect/%s/version', i - 1);
                END IF;
                EXIT look WHEN bad IS NOT NULL;
            END LOOP;

            -- The state of what it resolves or reverses.
            IF item.hold_id IS NOT NULL AND hold.hold_id IS NULL THEN
                bad := 'hold_resolved';
            ELSIF item.kind = 'capture' AND h.posted_at >= hold.expires_at THEN
                bad := 'hold_expired';
            ELSIF item.kind = 'expire' AND h.posted_at < hold.expires_at THEN
                bad := 'hold_open';
            ELSIF item.kind = 'capture' AND amounts[1] > hold.remaining THEN
                bad := 'capture_exceeds_hold';
                r.facts := jsonb_build_object('remaining_minor', hold.remaining);
                r.pointer := '/amount_minor';
            ELSIF item.reverses IS NOT NULL AND (
                known.status <> 'applied' OR known.kind NOT IN ('post', 'adjust', 'capture')
                -- A leg within one account moved money between its stripes.
                OR EXISTS (SELECT FROM unnest(debits, credits) AS x (d, c) WHERE x.d = x.c)
            ) THEN
                bad := 'not_reversible';
            ELSIF item.reverses IS NOT NULL AND EXISTS (
                SELECT FROM ledger_transactions AS t
                WHERE
                    t.tenant_id = tenant AND t.reverses = item.reverses AND t.status = 'applied'
            ) THEN
                bad := 'already_reversed';
            END IF;

            -- The state of its accounts. A refusal keeps the legs too.
            is_striped := false;
            FOR l IN 1 .. cardinality(amounts) LOOP
                FOREACH k IN ARRAY ARRAY[debits[l], credits[l]] LOOP
                    b := balances[k];
                    is_striped := is_striped OR b.stripe > 0;
                    IF
                        bad IS NULL AND b.status <> 'open' AND NOT coalesce(item.level, false)
                        AND NOT (b.status = 'frozen' AND item.kind IN ('void', 'expire'))
                    THEN
                        bad := 'account_' || b.status;
                        r.pointer := '/legs/' || l - 1;
                    END IF;
                END LOOP;
                h.debit_accounts[l] := (balances[debits[l]]).account_id;
                h.credit_accounts[l] := (balances[credits[l]]).account_id;
                h.stripes := h.stripes
                    || ARRAY[[(balances[debits[l]]).stripe, (balances[credits[l]]).stripe]];
            END LOOP;
            h.amounts := amounts;
            IF NOT is_striped THEN
                h.stripes := NULL;
            END IF;
            EXIT look WHEN bad IS NOT NULL;

            -- What each leg moves.
            IF item.kind = 'hold' THEN
                h.expires_at := h.posted_at + make_interval(secs => item.expires_in_s);
            END IF;
            IF item.kind = 'capture' THEN
                h.final := h.final OR amounts[1] = hold.remaining;
                h.released := CASE WHEN h.final THEN hold.remaining ELSE amounts[1] END;
            END IF;
            FOR l IN 1 .. cardinality(amounts) LOOP
                posted := CASE WHEN item.kind IN ('hold', 'void', 'expire') THEN 0 ELSE amounts[l] END;
                pending := CASE item.kind
                    WHEN 'hold' THEN amounts[l]
                    WHEN 'capture' THEN -h.released
                    WHEN 'void' THEN -amounts[l]
                    WHEN 'expire' THEN -amounts[l]
                    ELSE 0
                END;
                FOREACH side IN ARRAY ARRAY[-1, 1] LOOP
                    k := CASE side WHEN 1 THEN credits[l] ELSE debits[l] END;
                    b := balances[k];
                    IF touched[k] IS DISTINCT FROM n THEN
                        touched[k] := n;
                        save_count := save_count + 1;
                        saved[save_count] := b;
                        saved_places[save_count] := k;
                    END IF;
                    IF side = 1 THEN
                        b.credits_posted := b.credits_posted + posted;
                        b.credits_pending := b.credits_pending + pending;
                    ELSE
                        b.debits_posted := b.debits_posted + posted;
                        b.debits_pending := b.debits_pending + pending;
                    END IF;
                    b.version := b.version + 1;
                    b.last_posted_at := h.posted_at;
                    balances[k] := b;
                    e := NULL;
                    e.account_id := b.account_id;
                    e.stripe := b.stripe;
                    e.posted_at := h.posted_at;
                    e.version := b.version;
                    e.tx_id := h.id;
                    e.leg := l;
                    e.side := side;
                    e.posted := posted;
                    e.pending := pending;
                    e.effective_at := h.effective_at;
                    e.balance_after := b.normal_side * (b.credits_posted - b.debits_posted);
                    entry_count := entry_count + 1;
                    entries[entry_count] := e;
                END LOOP;
            END LOOP;

            -- Limits, on the state after all legs (LP6).
            FOR i IN item_saves + 1 .. save_count LOOP
                k := saved_places[i];
                b := balances[k];
                bad := ledger_broken_limit(saved[i], b);
                CONTINUE WHEN bad IS NULL;
                IF bad = 'insufficient_funds' AND stripes[k] > 1 AND NOT request ? 'gather' THEN
                    RETURN NEXT ROW(0, 'again', 'gather', NULL, NULL, NULL, NULL)::ledger_result;
                    RETURN;
                END IF;
                IF bad <> 'amount_overflow' AND NOT request ? 'patient' THEN
                    SELECT x.hold_ids, x.remaining INTO overdue, overdue_minor
                    FROM ledger_overdue(tenant, b, bad, clock) AS x;
                    IF overdue IS NOT NULL AND NOT dry_run THEN
                        RETURN NEXT ROW(0, 'again', 'expire', NULL, NULL, overdue, NULL)::ledger_result;
                        RETURN;
                    END IF;
                    -- A dry run takes them as expired.
                    bad := CASE
                        WHEN bad = 'insufficient_funds' AND ledger_available(b) + overdue_minor >= b.floor
                            THEN NULL
                        WHEN bad = 'ceiling_exceeded' AND ledger_reachable(b) - overdue_minor <= b.ceiling
                            THEN NULL
                        ELSE bad
                    END;
                    CONTINUE WHEN bad IS NULL;
                END IF;
                -- What the caller may be told: of the whole account, before this.
                SELECT
                    CASE bad
                        WHEN 'insufficient_funds' THEN jsonb_build_object(
                            'available_minor', sum(ledger_available(x)) - ledger_available(b)
                            + ledger_available(saved[i]), 'floor_minor', sum(x.floor)
                        )
                        WHEN 'ceiling_exceeded' THEN jsonb_build_object(
                            'reachable_minor', ledger_reachable(saved[i]), 'ceiling_minor', b.ceiling
                        )
                    END
                INTO r.facts
                FROM unnest(balances) AS x
                WHERE x.account_id = b.account_id;
                SELECT format('/legs/%s/amount_minor', min(x.leg) - 1) INTO r.pointer
                FROM unnest(debits, credits) WITH ORDINALITY AS x (debit, credit, leg)
                WHERE k IN (x.debit, x.credit);
                EXIT;
            END LOOP;
        END look;

        IF bad IS NOT NULL THEN
            -- Take it back.
            FOR i IN REVERSE save_count .. item_saves + 1 LOOP
                balances[saved_places[i]] := saved[i];
            END LOOP;
            save_count := item_saves;
            entry_count := item_entries;
            r.code := bad;
            IF party IS NOT NULL THEN
                -- And all of its party, whose ids stay free.
                FOR i IN REVERSE save_count .. party_saves + 1 LOOP
                    balances[saved_places[i]] := saved[i];
                END LOOP;
                FOR i IN party_first .. n - 1 LOOP
                    results[i] := ROW(i, 'invalid', 'group_failed', NULL, NULL, NULL, NULL);
                END LOOP;
                FOR i IN party_first .. n LOOP
                    IF id_headers[i] > party_headers THEN
                        id_headers[i] := NULL;
                    END IF;
                    IF reference_headers[i] > party_headers THEN
                        reference_headers[i] := NULL;
                    END IF;
                END LOOP;
                save_count := party_saves;
                header_count := party_headers;
                entry_count := party_entries;
                created := party_created;
                party_failed := true;
            ELSIF r.outcome IS NULL AND item.stored AND bad = any(stored_codes) THEN
                r.outcome := 'rejected';
                h.status := 'rejected';
                h.reason := bad;
                h.released := NULL;
                h.expires_at := NULL;
            END IF;
            r.outcome := coalesce(r.outcome, 'invalid');
        ELSIF r.outcome IS NULL THEN
            r.outcome := 'created';
            created := created + CASE WHEN item.level THEN 0 ELSE 1 END;
        END IF;

        IF r.outcome IN ('created', 'rejected') THEN
            header_count := header_count + 1;
            headers[header_count] := h;
            r.posted_at := h.posted_at;
            latest := h.posted_at;
            id_headers[n] := header_count;
        END IF;
        IF r.outcome = 'created' THEN
            IF h.reference IS NOT NULL THEN
                reference_headers[n] := header_count;
            END IF;
            IF item.kind = 'hold' THEN
                hold.hold_id := h.id;
                hold.debit_account := h.debit_accounts[1];
                hold.credit_account := h.credit_accounts[1];
                hold.stripes := h.stripes;
                hold.amount := amounts[1];
                hold.remaining := amounts[1];
                hold.expires_at := h.expires_at;
                hold.created_at := h.posted_at;
            ELSIF hold.hold_id IS NOT NULL THEN
                hold.remaining := hold.remaining - coalesce(h.released, hold.remaining);
            END IF;
            IF hold.hold_id IS NOT NULL THEN
                holds := holds || hold;
            END IF;
            IF detail THEN
                r.facts := jsonb_build_object(
                    'posted_at', h.posted_at, 'effective_at', h.effective_at, 'final', h.final,
                    'released_minor', h.released, 'expires_at', h.expires_at, 'legs', (
                        SELECT
                            jsonb_agg(jsonb_build_object(
                                'debit', codes[x.debit], 'credit', codes[x.credit],
                                'amount_minor', x.amount, 'currency', (balances[x.debit]).currency
                            ) ORDER BY x.leg)
                        FROM unnest(debits, credits, amounts) WITH ORDINALITY
                        AS x (debit, credit, amount, leg)
                    ), 'balances', (
                        SELECT
                            coalesce(jsonb_agg(jsonb_build_object(
                                'account', codes[x.k], 'currency', (balances[x.k]).currency,
                                'posted_minor', (balances[x.k]).normal_side * (
                                    (balances[x.k]).credits_posted - (balances[x.k]).debits_posted
                                ), 'version', (balances[x.k]).version
                            ) ORDER BY x.place), '[]')
                        FROM unnest(saved_places[item_saves + 1:save_count]) WITH ORDINALITY
                        AS x (k, place)
                        WHERE stripes[x.k] = 1
                    )
                );
            END IF;
        END IF;
        IF n > 0 THEN
            results[n] := r;
        END IF;
    END LOOP;

    -- 4. Claim the key, then write. A used key leaves nothing, whoever used it answers.
    IF created = 0 AND NOT request ? 'level' THEN
        entry_count := 0;
        headers := ARRAY(
            SELECT x FROM unnest(headers[:header_count]) AS x WHERE x.status = 'rejected'
        );
        header_count := cardinality(headers);
    END IF;
    claim := request -> 'key';
    IF claim IS NOT NULL AND created = 1 AND NOT dry_run THEN
        INSERT INTO idempotency_keys AS x (
            tenant_id, scope, key, operation, fingerprint, fingerprint_version, kind, status,
            answer, resource_type, resource_id, request_id, created_at, expires_at
        )
        VALUES (
            tenant, claim ->> 'scope', claim ->> 'key', claim ->> 'operation',
            (claim ->> 'fingerprint')::bytea, (claim ->> 'fingerprint_version')::smallint, 'completed',
            201, (claim -> 'answer') || r.facts, 'ledger_transaction', h.id, request ->> 'request_id',
            now(), now() + make_interval(secs => (claim ->> 'ttl_s')::bigint)
        )
        ON CONFLICT (tenant_id, scope, key) DO UPDATE
        SET
            operation = excluded.operation, fingerprint = excluded.fingerprint,
            fingerprint_version = excluded.fingerprint_version, kind = excluded.kind,
            status = excluded.status, answer = excluded.answer,
            resource_type = excluded.resource_type, resource_id = excluded.resource_id,
            request_id = excluded.request_id, created_at = excluded.created_at,
            expires_at = excluded.expires_at
        WHERE x.expires_at <= excluded.created_at
        RETURNING x.expires_at INTO r.expires_at;
        IF NOT FOUND THEN
            RETURN NEXT ROW(0, 'used', NULL, NULL, NULL, NULL, NULL)::ledger_result;
            RETURN;
        END IF;
        results[1] := r;
    END IF;
    IF header_count > 0 AND NOT dry_run THEN
        PERFORM ledger_write(
            tenant, headers[:header_count], balances,
            CASE WHEN entry_count > 0 THEN entries[:entry_count] END, holds
        );
    END IF;
    RETURN QUERY
    SELECT x.n, x.outcome, x.code, x.pointer, x.posted_at, x.facts, x.expires_at
    FROM unnest(results) AS x;
END
$$;

CREATE FUNCTION public.ledger_post_plain(tenant text, actor text, request_id text, thread integer, codes text[], currencies text[], ids uuid[], kinds public.ledger_kind[], hashes bytea, refs text[], metadata jsonb[], metadata_hashes bytea[], first_legs integer[], last_legs integer[], items integer[], debits integer[], credits integer[], amounts bigint[]) RETURNS timestamp with time zone
    LANGUAGE plpgsql
    AS $$
DECLARE
    microsecond CONSTANT interval := '1 microsecond';
    -- By place, as they are under the locks.
    account_ids bigint[];
    stripes smallint[];
    sides smallint[];
    versions bigint[];
    balances bigint[];
    -- How far a balance may go within floor and ceiling; NULL: as far as it likes.
    lowest bigint[];
    highest bigint[];
    is_ready boolean;
    began timestamptz;
    -- By leg.
    debit_accounts bigint[];
    credit_accounts bigint[];
    leg_stripes smallint[];
BEGIN
    -- 1. Lock, in the one order (LP2); then the clock (LP4).
    SELECT
        array_agg(q.account_id ORDER BY q.place), array_agg(q.stripe ORDER BY q.place),
        array_agg(q.normal_side ORDER BY q.place), array_agg(q.version ORDER BY q.place),
        array_agg(q.posted ORDER BY q.place),
        array_agg(q.floor + q.posted - q.available ORDER BY q.place),
        array_agg(q.ceiling + q.posted - q.reachable ORDER BY q.place),
        count(*) = cardinality(codes) AND bool_and(q.status = 'open')
        -- No counter can come near its end (LP11).
        AND max(q.counter) + (SELECT sum(x.amount) FROM unnest(amounts) AS x (amount))
        <= 4611686018427387904,
        max(q.last_posted_at) + microsecond
    INTO account_ids, stripes, sides, versions, balances, lowest, highest, is_ready, began
    FROM (
        SELECT
            x.place, b.account_id, b.stripe, b.normal_side, b.version, b.status, b.floor, b.ceiling,
            b.last_posted_at, b.normal_side * (b.credits_posted - b.debits_posted) AS posted,
            ledger_available(b) AS available, ledger_reachable(b) AS reachable,
            greatest(b.debits_posted, b.credits_posted) AS counter
        FROM unnest(codes, currencies) WITH ORDINALITY AS x (code, currency, place)
        INNER JOIN ledger_accounts AS a
            ON a.tenant_id = tenant AND a.code = x.code AND a.currency = x.currency::char(3)
        INNER JOIN ledger_balances AS b
            ON
                b.tenant_id = tenant AND b.account_id = a.account_id
                AND b.stripe = thread % a.stripes
        ORDER BY b.account_id, b.stripe
        FOR NO KEY UPDATE OF b
    ) AS q;
    began := greatest(clock_timestamp(), began);
    IF is_ready IS NOT TRUE THEN
        RETURN NULL;
    END IF;

    -- 2. Look whether an id or a reference is there. Asked for each by itself (ADR 0017); who takes
    -- one after this look is settled by the unique index.
    PERFORM FROM unnest(ids) AS x (id)
    CROSS JOIN LATERAL (
        SELECT FROM ledger_transactions AS t WHERE t.tenant_id = tenant AND t.id = x.id LIMIT 1
    ) AS t
    LIMIT 1;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM FROM unnest(refs) AS x (reference)
    CROSS JOIN LATERAL (
        SELECT FROM ledger_transactions AS t
        WHERE t.tenant_id = tenant AND t.reference = x.reference AND t.status = 'applied'
        LIMIT 1
    ) AS t
    WHERE x.reference IS NOT NULL
    LIMIT 1;
    IF FOUND THEN
        RETURN NULL;
    END IF;

    -- 3. Run every account through its legs. If none leaves its limits after any leg, write:
    -- entries, one update of each balance, headers by id (LP10). What is within its limits after
    -- the last leg of a transaction only (LP6) is left to ledger_post.
    SELECT
        array_agg(account_ids[x.debit] ORDER BY x.leg),
        array_agg(account_ids[x.credit] ORDER BY x.leg),
        CASE
            WHEN 0 < any(stripes)
                THEN array_agg(ARRAY[stripes[x.debit], stripes[x.credit]] ORDER BY x.leg)
        END
    INTO debit_accounts, credit_accounts, leg_stripes
    FROM unnest(debits, credits) WITH ORDINALITY AS x (debit, credit, leg);
    WITH run AS MATERIALIZED (
        SELECT
            m.place, m.item, m.leg, m.side, m.amount,
            versions[m.place] + row_number() OVER legs AS version,
            balances[m.place] + sides[m.place] * (sum(m.side * m.amount) OVER legs)::bigint
                AS balance_after
        FROM (
            SELECT v.place, x.item, x.leg, v.side, x.amount
            FROM unnest(items, debits, credits, amounts) WITH ORDINALITY
            AS x (item, debit, credit, amount, leg)
            CROSS JOIN LATERAL (VALUES (-1, x.debit), (1, x.credit)) AS v (side, place)
        ) AS m
        WINDOW legs AS (PARTITION BY m.place ORDER BY m.leg ROWS UNBOUNDED PRECEDING)
    ),
    verdict AS (
        SELECT
            bool_and(
                coalesce(r.balance_after >= lowest[r.place], true)
                AND coalesce(r.balance_after <= highest[r.place], true)
            ) AS fits
        FROM run AS r
    ),
    entered AS (
        INSERT INTO ledger_entries (
            tenant_id, account_id, stripe, posted_at, version, tx_id, leg, side, posted,
            effective_at, balance_after
        )
        SELECT
            tenant, account_ids[r.place], stripes[r.place], began + (r.item - 1) * microsecond,
            r.version, ids[r.item], r.leg - first_legs[r.item] + 1, r.side, r.amount,
            began + (r.item - 1) * microsecond, r.balance_after
        FROM verdict AS v
        CROSS JOIN run AS r
        WHERE v.fits
    ),
    moved AS (
        UPDATE ledger_balances AS b
        SET
            debits_posted = b.debits_posted + s.debits, credits_posted = b.credits_posted + s.credits,
            version = s.version, last_posted_at = began + (s.item - 1) * microsecond
        FROM verdict AS v
        CROSS JOIN (
            SELECT
                r.place, max(r.version) AS version, max(r.item) AS item,
                sum(CASE r.side WHEN -1 THEN r.amount ELSE 0 END)::bigint AS debits,
                sum(CASE r.side WHEN 1 THEN r.amount ELSE 0 END)::bigint AS credits
            FROM run AS r
            GROUP BY r.place
        ) AS s
        WHERE
            v.fits AND b.tenant_id = tenant AND b.account_id = account_ids[s.place]
            AND b.stripe = stripes[s.place]
    )
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, reference, posted_at, effective_at, debit_accounts,
        credit_accounts, amounts, stripes, request_hash, metadata, metadata_hash, actor, request_id
    )
    SELECT
        tenant, x.id, x.kind, 'applied', x.reference, began + (x.item - 1) * microsecond,
        began + (x.item - 1) * microsecond, debit_accounts[x.first:x.last],
        credit_accounts[x.first:x.last], amounts[x.first:x.last],
        CASE WHEN 0 < any(leg_stripes[x.first:x.last]) THEN leg_stripes[x.first:x.last] END,
        substr(hashes, 32 * x.item::integer - 31, 32), x.metadata, x.metadata_hash, actor, request_id
    FROM verdict AS v
    CROSS JOIN unnest(ids, kinds, refs, metadata, metadata_hashes, first_legs, last_legs)
    WITH ORDINALITY AS x (id, kind, reference, metadata, metadata_hash, first, last, item)
    WHERE v.fits
    ORDER BY x.id;
    RETURN CASE WHEN FOUND THEN began END;
END
$$;

CREATE FUNCTION public.ledger_reachable(b public.ledger_balances) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT
        b.normal_side * (b.credits_posted - b.debits_posted)
        + CASE b.normal_side WHEN 1 THEN b.credits_pending ELSE b.debits_pending END
$$;

CREATE TABLE public.ledger_entries (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    account_id bigint NOT NULL,
    stripe smallint DEFAULT 0 NOT NULL,
    posted_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    tx_id uuid NOT NULL,
    leg smallint NOT NULL,
    side smallint NOT NULL,
    posted bigint NOT NULL,
    pending bigint DEFAULT 0 NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    balance_after bigint NOT NULL,
    CONSTRAINT ledger_entries_amount_check CHECK (((posted >= 0) AND ((posted <> 0) OR (pending <> 0))))
);

CREATE TABLE public.ledger_holds (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    hold_id uuid NOT NULL,
    debit_account bigint NOT NULL,
    credit_account bigint NOT NULL,
    stripes smallint[],
    amount bigint NOT NULL,
    remaining bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ledger_holds_remaining_check CHECK (((0 < remaining) AND (remaining <= amount)))
);

CREATE FUNCTION public.ledger_write(tenant text, headers public.ledger_transactions[], balances public.ledger_balances[], entries public.ledger_entries[], holds public.ledger_holds[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO ledger_transactions (
        tenant_id, id, kind, status, reason, reference, hold_id, reverses, final, forced, posted_at,
        effective_at, debit_accounts, credit_accounts, amounts, stripes, released, request_hash,
        metadata, metadata_hash, actor, request_id, expires_at
    )
    SELECT
        tenant, x.id, x.kind, x.status, x.reason, x.reference, x.hold_id, x.reverses, x.final,
        x.forced, x.posted_at, x.effective_at, x.debit_accounts, x.credit_accounts, x.amounts,
        x.stripes, x.released, x.request_hash, x.metadata, x.metadata_hash, x.actor, x.request_id, x.expires_at
    FROM unnest(headers) AS x
    ORDER BY x.id;
    IF entries IS NULL THEN
        RETURN;
    END IF;
    UPDATE ledger_balances AS b
    SET
        debits_posted = x.debits_posted, credits_posted = x.credits_posted,
        debits_pending = x.debits_pending, credits_pending = x.credits_pending,
        version = x.version, last_posted_at = x.last_posted_at
    FROM unnest(balances) AS x
    WHERE
        b.tenant_id = tenant AND b.account_id = x.account_id AND b.stripe = x.stripe
        AND b.version < x.version;
    INSERT INTO ledger_entries (
        tenant_id, account_id, stripe, posted_at, version, tx_id, leg, side, posted, pending,
        effective_at, balance_after
    )
    SELECT
        tenant, x.account_id, x.stripe, x.posted_at, x.version, x.tx_id, x.leg, x.side, x.posted,
        x.pending, x.effective_at, x.balance_after
    FROM unnest(entries) AS x;
    IF holds IS NULL THEN
        RETURN;
    END IF;
    -- Nothing remains of a hold that is resolved.
    DELETE FROM ledger_holds AS x
    WHERE
        x.tenant_id = tenant
        AND x.hold_id = any(ARRAY(SELECT y.hold_id FROM unnest(holds) AS y WHERE y.remaining = 0));
    INSERT INTO ledger_holds AS x (
        tenant_id, hold_id, debit_account, credit_account, stripes, amount, remaining, expires_at,
        created_at
    )
    SELECT
        tenant, y.hold_id, y.debit_account, y.credit_account, y.stripes, y.amount, y.remaining,
        y.expires_at, y.created_at
    FROM unnest(holds) AS y
    WHERE y.remaining > 0
    ON CONFLICT (tenant_id, hold_id) DO UPDATE SET remaining = excluded.remaining;
END
$$;

CREATE FUNCTION public.legacy_capture() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.legacy_gate() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.legacy_switch(domain text, enabled boolean) RETURNS void
    LANGUAGE plpgsql
    AS $_$
BEGIN
    EXECUTE format(
        'ALTER TABLE %1$I %2$s TRIGGER legacy_gate, %2$s TRIGGER legacy_capture',
        domain, CASE WHEN enabled THEN 'ENABLE' ELSE 'DISABLE' END
    );
END
$_$;

CREATE FUNCTION public.payment_end_reason_fits(authorized bigint, captured bigint, voided bigint, end_reason public.payment_end_reason) RETURNS boolean
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

CREATE TABLE public.payment_events (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    payment_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    amount_minor bigint,
    status_from public.payment_status,
    status_to public.payment_status NOT NULL,
    after jsonb NOT NULL,
    object_id uuid,
    actor text NOT NULL,
    request_id text NOT NULL,
    key text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    epoch smallint DEFAULT public.event_epoch() NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

CREATE FUNCTION public.payment_event_json(e public.payment_events) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object('id', (((e).payment_id || '-'::text) || (e).seq), 'payment_id', (e).payment_id, 'seq', (e).seq, 'type', (e).type, 'amount_minor', (e).amount_minor, 'status_from', (e).status_from, 'status_to', (e).status_to, 'after', (e).after, 'object_id', (e).object_id, 'actor', (e).actor, 'request_id', (e).request_id, 'created_at', (e).created_at);

CREATE FUNCTION public.payment_events_in_order() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- A query of its own, not of the statement that waited: it sees what was committed meanwhile.
    new.xid := greatest(
        new.xid,
        (
            SELECT e.xid
            FROM payment_events AS e
            WHERE
                e.tenant_id = new.tenant_id AND e.payment_id = new.payment_id
                AND e.seq < new.seq AND e.epoch = new.epoch
            ORDER BY e.seq DESC
            LIMIT 1
        )
    );
    RETURN new;
END
$$;

CREATE FUNCTION public.payment_status_of(authorized bigint, captured bigint, voided bigint, refunded bigint, disputed bigint, charged_back bigint, end_reason public.payment_end_reason) RETURNS public.payment_status
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

CREATE TABLE public.payments (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    legacy_id text,
    reference text COLLATE pg_catalog."C",
    amount_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    capture_method public.payment_capture_method DEFAULT 'manual'::public.payment_capture_method NOT NULL,
    gateway text DEFAULT 'manual'::text NOT NULL,
    gateway_reference text,
    description text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    status public.payment_status NOT NULL,
    end_reason public.payment_end_reason,
    failure_code text,
    failure_message text,
    capture_before timestamp with time zone,
    expiry_warned boolean DEFAULT false NOT NULL,
    unposted boolean DEFAULT false NOT NULL,
    authorized_minor bigint DEFAULT 0 NOT NULL,
    captured_minor bigint DEFAULT 0 NOT NULL,
    voided_minor bigint DEFAULT 0 NOT NULL,
    refunded_minor bigint DEFAULT 0 NOT NULL,
    disputed_minor bigint DEFAULT 0 NOT NULL,
    charged_back_minor bigint DEFAULT 0 NOT NULL,
    fee_minor bigint DEFAULT 0 NOT NULL,
    fee_refunded_minor bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT payments_amount_check CHECK (((amount_minor >= 1) AND (amount_minor <= '999999999999999'::bigint))),
    CONSTRAINT payments_authorized_check CHECK ((authorized_minor <= amount_minor)),
    CONSTRAINT payments_capturable_check CHECK (((captured_minor + voided_minor) <= authorized_minor)),
    CONSTRAINT payments_counters_check CHECK ((LEAST(authorized_minor, captured_minor, voided_minor, refunded_minor, disputed_minor, charged_back_minor, fee_minor, fee_refunded_minor) >= 0)),
    CONSTRAINT payments_end_reason_check CHECK (public.payment_end_reason_fits(authorized_minor, captured_minor, voided_minor, end_reason)),
    CONSTRAINT payments_fee_check CHECK ((fee_refunded_minor <= fee_minor)),
    CONSTRAINT payments_refundable_check CHECK ((((refunded_minor + disputed_minor) + charged_back_minor) <= captured_minor)),
    CONSTRAINT payments_status_check CHECK ((status = public.payment_status_of(authorized_minor, captured_minor, voided_minor, refunded_minor, disputed_minor, charged_back_minor, end_reason)))
)
WITH (fillfactor='80');

CREATE FUNCTION public.payment_json(p public.payments) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object('id', (p).id, 'user_id', (p).user_id, 'legacy_id', (p).legacy_id, 'reference', (p).reference, 'amount_minor', (p).amount_minor, 'currency', (p).currency, 'capture_method', (p).capture_method, 'gateway', (p).gateway, 'gateway_reference', (p).gateway_reference, 'description', (p).description, 'metadata', (p).metadata, 'status', (p).status, 'end_reason', (p).end_reason, 'failure_code', (p).failure_code, 'failure_message', (p).failure_message, 'capture_before', (p).capture_before, 'authorized_minor', (p).authorized_minor, 'captured_minor', (p).captured_minor, 'voided_minor', (p).voided_minor, 'refunded_minor', (p).refunded_minor, 'disputed_minor', (p).disputed_minor, 'charged_back_minor', (p).charged_back_minor, 'fee_minor', (p).fee_minor, 'fee_refunded_minor', (p).fee_refunded_minor, 'version', (p).version, 'created_at', (p).created_at, 'updated_at', (p).updated_at);

CREATE TABLE public.api_keys (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    principal_id uuid NOT NULL,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    allowed_cidrs cidr[],
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    replaced_by text COLLATE pg_catalog."C",
    revoked_at timestamp with time zone,
    revoked_by text,
    revoked_reason text,
    last_used_at timestamp with time zone,
    last_used_ip inet,
    CONSTRAINT api_keys_cidrs_check CHECK (((cardinality(allowed_cidrs) > 0) AND (array_position(allowed_cidrs, NULL::cidr) IS NULL))),
    CONSTRAINT api_keys_hash_check CHECK ((octet_length(key_hash) = 32)),
    CONSTRAINT api_keys_id_check CHECK ((id ~ '^[0-9A-Za-z]{12}$'::text)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT api_keys_revoked_check CHECK (((revoked_at IS NULL) = (revoked_by IS NULL))),
    CONSTRAINT api_keys_scopes_check CHECK (((cardinality(scopes) > 0) AND (array_position(scopes, NULL::text) IS NULL)))
)
WITH (fillfactor='70');

CREATE TABLE public.audit_log (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    subject text,
    user_id uuid,
    session_id uuid,
    event text NOT NULL,
    outcome text DEFAULT 'ok'::text NOT NULL,
    reason text,
    ip inet,
    user_agent text,
    request_id text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_log_details_check CHECK ((jsonb_typeof(details) = 'object'::text)),
    CONSTRAINT audit_log_outcome_check CHECK ((outcome = ANY (ARRAY['ok'::text, 'failed'::text, 'throttled'::text]))),
    CONSTRAINT audit_log_user_agent_check CHECK ((char_length(user_agent) <= 256))
);

CREATE TABLE public.auth_sessions (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    epoch integer NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    secret_hash bytea NOT NULL,
    rotated_at timestamp with time zone,
    retry_count integer DEFAULT 0 NOT NULL,
    auth_time timestamp with time zone DEFAULT now() NOT NULL,
    amr text[] DEFAULT '{pwd}'::text[] NOT NULL,
    ip inet,
    user_agent text,
    device_label text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone DEFAULT now() NOT NULL,
    idle_expires_at timestamp with time zone NOT NULL,
    absolute_expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    revoked_reason text,
    CONSTRAINT auth_sessions_generation_check CHECK (((generation >= 0) AND (generation <= '4294967295'::bigint))),
    CONSTRAINT auth_sessions_revoked_check CHECK ((num_nulls(revoked_at, revoked_reason) = ANY (ARRAY[0, 2]))),
    CONSTRAINT auth_sessions_secret_check CHECK ((octet_length(secret_hash) = 32)),
    CONSTRAINT auth_sessions_texts_check CHECK (((char_length(user_agent) <= 256) AND (char_length(device_label) <= 64)))
)
WITH (fillfactor='70');

CREATE TABLE public.backfill_cursors (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    after_id text COLLATE pg_catalog."C",
    rows_done bigint DEFAULT 0 NOT NULL,
    rows_rejected bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone
);

CREATE TABLE public.currencies (
    code character(3) NOT NULL,
    numeric_code smallint NOT NULL,
    name text NOT NULL,
    exponent smallint,
    published_on date NOT NULL,
    withdrawn_on date,
    CONSTRAINT currencies_code_check CHECK ((code ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT currencies_exponent_check CHECK (((exponent >= 0) AND (exponent <= 4)))
);

CREATE TABLE public.drift_items (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    run_id uuid NOT NULL,
    entity_id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    columns text[] DEFAULT '{}'::text[] NOT NULL,
    truth_version bigint,
    follower_version bigint,
    truth_hash bytea,
    follower_hash bytea,
    repaired_at timestamp with time zone
);

CREATE TABLE public.drift_runs (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    run_id uuid NOT NULL,
    domain text NOT NULL COLLATE pg_catalog."C",
    level smallint NOT NULL,
    phase smallint NOT NULL,
    truth text NOT NULL,
    status text DEFAULT 'running'::text NOT NULL,
    rows_truth bigint DEFAULT 0 NOT NULL,
    rows_follower bigint DEFAULT 0 NOT NULL,
    missing_in_new bigint DEFAULT 0 NOT NULL,
    missing_in_legacy bigint DEFAULT 0 NOT NULL,
    different bigint DEFAULT 0 NOT NULL,
    unsettled bigint DEFAULT 0 NOT NULL,
    in_flight bigint DEFAULT 0 NOT NULL,
    repaired bigint DEFAULT 0 NOT NULL,
    truncated boolean DEFAULT false NOT NULL,
    trigger text NOT NULL,
    run_by text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    error text,
    CONSTRAINT drift_runs_status_check CHECK ((status = ANY (ARRAY['running'::text, 'clean'::text, 'drift'::text, 'failed'::text])))
);

CREATE TABLE public.idempotency_keys (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    scope text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    operation text NOT NULL,
    fingerprint bytea NOT NULL,
    fingerprint_version smallint NOT NULL,
    kind public.idempotency_kind NOT NULL,
    status smallint,
    answer jsonb,
    resource_type text,
    resource_id uuid,
    request_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_answer_check CHECK (((kind = 'completed'::public.idempotency_kind) = (answer IS NOT NULL)))
);

CREATE TABLE public.jobs (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    job text NOT NULL COLLATE pg_catalog."C",
    every_ms bigint NOT NULL,
    next_run_at timestamp with time zone DEFAULT now() NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    holder text,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    succeeded_at timestamp with time zone,
    outcome text,
    error text,
    rows bigint DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    CONSTRAINT jobs_error_check CHECK ((char_length(error) <= 500)),
    CONSTRAINT jobs_every_check CHECK ((every_ms > 0)),
    CONSTRAINT jobs_failures_check CHECK ((failures >= 0)),
    CONSTRAINT jobs_job_check CHECK ((job ~ '^[a-z][a-z-]{0,62}$'::text)),
    CONSTRAINT jobs_lease_check CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT jobs_outcome_check CHECK ((outcome = ANY (ARRAY['ok'::text, 'failed'::text, 'partial'::text])))
);

CREATE TABLE public.ledger_accounts (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    account_id bigint NOT NULL,
    code text NOT NULL COLLATE pg_catalog."C",
    currency character(3) NOT NULL,
    name text,
    normal_side smallint NOT NULL,
    stripes smallint DEFAULT 1 NOT NULL,
    owner_user_id uuid,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ledger_accounts_code_check CHECK (((octet_length(code) <= 255) AND (code ~ '^[a-z0-9][a-z0-9._-]{0,62}(:[a-z0-9][a-z0-9._-]{0,62}){0,9}$'::text))),
    CONSTRAINT ledger_accounts_normal_side_check CHECK ((normal_side = ANY (ARRAY[1, '-1'::integer]))),
    CONSTRAINT ledger_accounts_stripes_check CHECK (((stripes >= 1) AND (stripes <= 64)))
);

ALTER TABLE public.ledger_accounts ALTER COLUMN account_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ledger_accounts_account_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.ledger_leaves (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    idx bigint NOT NULL,
    tx_id uuid NOT NULL,
    late boolean DEFAULT false NOT NULL
);

CREATE TABLE public.ledger_replay_findings (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    run_id uuid NOT NULL,
    n integer NOT NULL,
    level text NOT NULL,
    account_id bigint,
    tx_id uuid,
    field text NOT NULL,
    expected text,
    found text,
    action text
);

CREATE TABLE public.ledger_replay_runs (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    run_id uuid NOT NULL,
    mode text NOT NULL,
    levels text[] NOT NULL,
    filter jsonb DEFAULT '{}'::jsonb NOT NULL,
    as_of timestamp with time zone,
    since_seal bigint,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    accounts bigint DEFAULT 0 NOT NULL,
    transactions bigint DEFAULT 0 NOT NULL,
    entries bigint DEFAULT 0 NOT NULL,
    mismatches bigint DEFAULT 0 NOT NULL,
    changed bigint DEFAULT 0 NOT NULL,
    verdict text,
    exit_code smallint,
    actor text NOT NULL,
    host text NOT NULL,
    app_version text NOT NULL
);

CREATE TABLE public.ledger_seal_keys (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    public_key bytea NOT NULL,
    valid_from timestamp with time zone DEFAULT now() NOT NULL,
    valid_until timestamp with time zone,
    CONSTRAINT ledger_seal_keys_length_check CHECK ((octet_length(public_key) = 32))
);

CREATE TABLE public.ledger_seal_state (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    sealed_through timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    tree_size bigint DEFAULT 0 NOT NULL,
    tick_at timestamp with time zone,
    tick_xid xid8,
    tick_node text,
    stopped_reason text
);

CREATE TABLE public.ledger_seals (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    tree_size bigint NOT NULL,
    root bytea NOT NULL,
    sealed_through timestamp with time zone NOT NULL,
    note text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.ledger_settings (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    closed_through date,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text NOT NULL
);

CREATE TABLE public.ledger_tiles (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    level smallint NOT NULL,
    n bigint NOT NULL,
    hashes bytea NOT NULL,
    root bytea DEFAULT '\x'::bytea NOT NULL
);

CREATE TABLE public.legacy_id_pool (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    legacy_id text NOT NULL COLLATE pg_catalog."C",
    taken_at timestamp with time zone
);

CREATE TABLE public.legacy_rejects (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    entity_id text NOT NULL COLLATE pg_catalog."C",
    direction text NOT NULL,
    code text NOT NULL,
    columns text[] DEFAULT '{}'::text[] NOT NULL,
    first_seen timestamp with time zone DEFAULT now() NOT NULL,
    last_seen timestamp with time zone DEFAULT now() NOT NULL,
    waived_by text,
    reason text,
    resolved_at timestamp with time zone,
    CONSTRAINT legacy_rejects_direction_check CHECK ((direction = ANY (ARRAY['to_new'::text, 'to_legacy'::text])))
);

CREATE TABLE public.login_throttle (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    bucket text NOT NULL COLLATE pg_catalog."C",
    key bytea NOT NULL,
    window_start timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer NOT NULL,
    blocked_until timestamp with time zone,
    refused integer DEFAULT 0 NOT NULL,
    CONSTRAINT login_throttle_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT login_throttle_bucket_check CHECK ((bucket = ANY (ARRAY['ip'::text, 'session'::text, 'pair'::text, 'account'::text, 'device'::text, 'mail'::text]))),
    CONSTRAINT login_throttle_key_check CHECK ((octet_length(key) = 32))
)
WITH (fillfactor='70');

CREATE TABLE public.mail_outbox (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    template text NOT NULL,
    purpose text COLLATE pg_catalog."C",
    to_address text NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now(),
    attempts integer DEFAULT 0 NOT NULL,
    sent_at timestamp with time zone,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mail_outbox_error_check CHECK ((char_length(last_error) <= 500)),
    CONSTRAINT mail_outbox_purpose_check CHECK ((purpose = ANY (ARRAY['verify'::text, 'reset'::text, 'email_change'::text]))),
    CONSTRAINT mail_outbox_sent_check CHECK (((sent_at IS NULL) OR (next_attempt_at IS NULL)))
);

CREATE TABLE public.migration_intents (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    intent_id uuid NOT NULL,
    domain text NOT NULL COLLATE pg_catalog."C",
    entity_id text NOT NULL COLLATE pg_catalog."C",
    op text NOT NULL,
    expected_version bigint NOT NULL,
    row_after jsonb NOT NULL,
    answer jsonb,
    idem_scope text COLLATE pg_catalog."C",
    idem_key text COLLATE pg_catalog."C",
    key_row jsonb,
    status text DEFAULT 'pending'::text NOT NULL,
    refused_code text,
    not_after timestamp with time zone NOT NULL,
    lease_token uuid NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    CONSTRAINT migration_intents_key_check CHECK (((idem_key IS NULL) = (idem_scope IS NULL))),
    CONSTRAINT migration_intents_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'applied'::text, 'refused'::text])))
);

CREATE TABLE public.migration_moves (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    domain text NOT NULL COLLATE pg_catalog."C",
    from_phase smallint NOT NULL,
    to_phase smallint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    moved_by text NOT NULL,
    reason text NOT NULL,
    gates jsonb DEFAULT '[]'::jsonb NOT NULL,
    waived text[] DEFAULT '{}'::text[] NOT NULL,
    hold_ms bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.migration_state (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    phase smallint DEFAULT 1 NOT NULL,
    finished_at timestamp with time zone,
    since timestamp with time zone DEFAULT now() NOT NULL,
    moved_by text NOT NULL,
    note text,
    adapter text NOT NULL,
    writers text DEFAULT 'api'::text NOT NULL,
    ledger_enabled boolean,
    fenced_at timestamp with time zone,
    CONSTRAINT migration_state_domain_check CHECK ((domain = ANY (ARRAY['users'::text, 'payments'::text]))),
    CONSTRAINT migration_state_phase_check CHECK (((phase >= 1) AND (phase <= 5))),
    CONSTRAINT migration_state_writers_check CHECK ((writers = ANY (ARRAY['api'::text, 'legacy'::text])))
);

CREATE TABLE public.mirror_marks (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    mark_id uuid DEFAULT gen_random_uuid() NOT NULL,
    entity_id text NOT NULL COLLATE pg_catalog."C",
    shard smallint GENERATED ALWAYS AS (((hashtext(entity_id) & 63))::smallint) STORED NOT NULL,
    origin text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    last_error text
);

CREATE TABLE public.one_time_tokens (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    user_id uuid NOT NULL,
    purpose text NOT NULL COLLATE pg_catalog."C",
    token_hash bytea NOT NULL,
    nonce bytea NOT NULL,
    master_key_id text NOT NULL,
    epoch integer NOT NULL,
    sent_to text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    consumed_at timestamp with time zone,
    CONSTRAINT one_time_tokens_hash_check CHECK (((octet_length(token_hash) = 32) AND (octet_length(nonce) = 16))),
    CONSTRAINT one_time_tokens_purpose_check CHECK ((purpose = ANY (ARRAY['verify'::text, 'reset'::text, 'email_change'::text])))
);

CREATE TABLE public.payment_captures (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    reference text COLLATE pg_catalog."C",
    amount_minor bigint NOT NULL,
    fee_minor bigint DEFAULT 0 NOT NULL,
    final boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT payment_captures_amount_check CHECK (((amount_minor > 0) AND (fee_minor >= 0) AND (fee_minor <= amount_minor)))
);

CREATE TABLE public.payment_disputes (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    reference text NOT NULL COLLATE pg_catalog."C",
    amount_minor bigint NOT NULL,
    fee_minor bigint DEFAULT 0 NOT NULL,
    reason text NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    evidence_due_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT payment_disputes_amount_check CHECK ((amount_minor > 0)),
    CONSTRAINT payment_disputes_fee_check CHECK ((fee_minor >= 0)),
    CONSTRAINT payment_disputes_status_check CHECK ((status = ANY (ARRAY['open'::text, 'won'::text, 'lost'::text])))
);

CREATE TABLE public.payment_refunds (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    reference text COLLATE pg_catalog."C",
    amount_minor bigint NOT NULL,
    fee_minor bigint DEFAULT 0 NOT NULL,
    reason text,
    status text DEFAULT 'succeeded'::text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT payment_refunds_amount_check CHECK ((amount_minor > 0)),
    CONSTRAINT payment_refunds_fee_check CHECK (((fee_minor >= 0) AND (fee_minor <= amount_minor))),
    CONSTRAINT payment_refunds_reason_check CHECK ((reason = ANY (ARRAY['duplicate'::text, 'fraudulent'::text, 'requested_by_customer'::text, 'other'::text]))),
    CONSTRAINT payment_refunds_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'succeeded'::text, 'failed'::text])))
);

CREATE TABLE public.refresh_tokens (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    session_id uuid NOT NULL,
    generation bigint NOT NULL,
    token_hash bytea NOT NULL,
    issued_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT refresh_tokens_hash_check CHECK ((octet_length(token_hash) = 32))
);

CREATE TABLE public.settings (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    value jsonb NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    updated_by text NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT settings_name_check CHECK ((name ~ '^[a-z][a-z0-9_]{0,62}$'::text))
);

CREATE TABLE public.shadow_counts (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    day date NOT NULL,
    compared bigint DEFAULT 0 NOT NULL,
    matched bigint DEFAULT 0 NOT NULL,
    mismatched bigint DEFAULT 0 NOT NULL,
    ignored bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    dropped bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.shadow_mismatches (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    domain text NOT NULL COLLATE pg_catalog."C",
    entity_id text NOT NULL COLLATE pg_catalog."C",
    columns text[] NOT NULL,
    truth_hash bytea NOT NULL,
    follower_hash bytea,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.signing_keys (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    kid text NOT NULL COLLATE pg_catalog."C",
    alg text NOT NULL,
    public_jwk jsonb NOT NULL,
    private_enc bytea,
    master_key_id text NOT NULL,
    active_from timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT signing_keys_alg_check CHECK ((alg = ANY (ARRAY['RS256'::text, 'ES256'::text, 'EdDSA'::text]))),
    CONSTRAINT signing_keys_private_check CHECK (((private_enc IS NOT NULL) OR (revoked_at IS NOT NULL)))
);

CREATE TABLE public.tenants (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    registration_open boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT tenants_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text]))),
    CONSTRAINT tenants_tenant_id_check CHECK ((tenant_id ~ '^[a-z][a-z0-9-]{0,31}$'::text))
);

CREATE TABLE public.users (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    email text,
    email_norm text COLLATE pg_catalog."C",
    legacy_password_hash text,
    status text DEFAULT 'active'::text NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    legacy_id text COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    email_verified_at timestamp with time zone,
    display_name text,
    role text DEFAULT 'user'::text NOT NULL,
    password_hash text,
    password_algo text,
    password_params jsonb,
    password_hash_version integer DEFAULT 0 NOT NULL,
    password_changed_at timestamp with time zone,
    session_epoch integer DEFAULT 0 NOT NULL,
    CONSTRAINT users_display_name_check CHECK (((char_length(display_name) >= 1) AND (char_length(display_name) <= 200))),
    CONSTRAINT users_email_check CHECK ((((email IS NULL) = (email_norm IS NULL)) AND ((email IS NOT NULL) OR (status = 'deleted'::text)))),
    CONSTRAINT users_email_length_check CHECK (((char_length(email) <= 254) AND (octet_length(email_norm) <= 254))),
    CONSTRAINT users_password_check CHECK ((num_nulls(password_hash, password_algo, password_params) = ANY (ARRAY[0, 3]))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'operator'::text]))),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'disabled'::text, 'deleted'::text]))),
    CONSTRAINT users_version_check CHECK ((version >= 1))
);

CREATE TABLE public.webhook_deliveries (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    endpoint_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    seq bigint NOT NULL,
    state public.webhook_delivery_state DEFAULT 'pending'::public.webhook_delivery_state NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone,
    lease_token uuid,
    lease_until timestamp with time zone,
    last_attempt_at timestamp with time zone,
    last_status smallint,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT webhook_deliveries_lease_check CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT webhook_deliveries_next_check CHECK (((state = 'pending'::public.webhook_delivery_state) OR (next_attempt_at IS NULL)))
)
WITH (fillfactor='80');

CREATE TABLE public.webhook_endpoints (
    tenant_id text NOT NULL COLLATE pg_catalog."C",
    id uuid NOT NULL,
    url text NOT NULL,
    description text,
    event_types text[] DEFAULT '{}'::text[] NOT NULL,
    secret_enc bytea NOT NULL,
    previous_secret_enc bytea,
    previous_until timestamp with time zone,
    status public.webhook_endpoint_status DEFAULT 'active'::public.webhook_endpoint_status NOT NULL,
    disabled_reason public.webhook_disabled_reason,
    failing_since timestamp with time zone,
    last_success_at timestamp with time zone,
    position_epoch smallint NOT NULL,
    position_xid xid8 NOT NULL,
    position_payment_id uuid NOT NULL,
    position_seq bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT webhook_endpoints_disabled_check CHECK (((status = 'disabled'::public.webhook_endpoint_status) = (disabled_reason IS NOT NULL))),
    CONSTRAINT webhook_endpoints_previous_check CHECK (((previous_secret_enc IS NULL) = (previous_until IS NULL))),
    CONSTRAINT webhook_endpoints_secret_check CHECK (((status = 'deleted'::public.webhook_endpoint_status) = (secret_enc = '\x'::bytea))),
    CONSTRAINT webhook_endpoints_url_check CHECK (((char_length(url) >= 1) AND (char_length(url) <= 2048)))
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.auth_sessions
    ADD CONSTRAINT auth_sessions_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.backfill_cursors
    ADD CONSTRAINT backfill_cursors_pkey PRIMARY KEY (tenant_id, domain);

ALTER TABLE ONLY public.currencies
    ADD CONSTRAINT currencies_pkey PRIMARY KEY (code);

ALTER TABLE ONLY public.drift_items
    ADD CONSTRAINT drift_items_pkey PRIMARY KEY (tenant_id, run_id, entity_id);

ALTER TABLE ONLY public.drift_runs
    ADD CONSTRAINT drift_runs_pkey PRIMARY KEY (tenant_id, run_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, scope, key);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (tenant_id, job);

ALTER TABLE ONLY public.ledger_accounts
    ADD CONSTRAINT ledger_accounts_code_key UNIQUE (tenant_id, code, currency);

ALTER TABLE ONLY public.ledger_accounts
    ADD CONSTRAINT ledger_accounts_pkey PRIMARY KEY (tenant_id, account_id);

ALTER TABLE ONLY public.ledger_balances
    ADD CONSTRAINT ledger_balances_pkey PRIMARY KEY (tenant_id, account_id, stripe);

ALTER TABLE ONLY public.ledger_entries
    ADD CONSTRAINT ledger_entries_pkey PRIMARY KEY (tenant_id, account_id, stripe, posted_at, version);

ALTER TABLE ONLY public.ledger_holds
    ADD CONSTRAINT ledger_holds_pkey PRIMARY KEY (tenant_id, hold_id);

ALTER TABLE ONLY public.ledger_leaves
    ADD CONSTRAINT ledger_leaves_pkey PRIMARY KEY (tenant_id, idx);

ALTER TABLE ONLY public.ledger_leaves
    ADD CONSTRAINT ledger_leaves_tx_key UNIQUE (tenant_id, tx_id);

ALTER TABLE ONLY public.ledger_replay_findings
    ADD CONSTRAINT ledger_replay_findings_pkey PRIMARY KEY (tenant_id, run_id, n);

ALTER TABLE ONLY public.ledger_replay_runs
    ADD CONSTRAINT ledger_replay_runs_pkey PRIMARY KEY (tenant_id, run_id);

ALTER TABLE ONLY public.ledger_seal_keys
    ADD CONSTRAINT ledger_seal_keys_pkey PRIMARY KEY (tenant_id, public_key);

ALTER TABLE ONLY public.ledger_seal_state
    ADD CONSTRAINT ledger_seal_state_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.ledger_seals
    ADD CONSTRAINT ledger_seals_pkey PRIMARY KEY (tenant_id, tree_size);

ALTER TABLE ONLY public.ledger_settings
    ADD CONSTRAINT ledger_settings_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.ledger_tiles
    ADD CONSTRAINT ledger_tiles_pkey PRIMARY KEY (tenant_id, level, n);

ALTER TABLE ONLY public.ledger_transactions
    ADD CONSTRAINT ledger_transactions_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.legacy_id_pool
    ADD CONSTRAINT legacy_id_pool_pkey PRIMARY KEY (tenant_id, domain, legacy_id);

ALTER TABLE ONLY public.legacy_rejects
    ADD CONSTRAINT legacy_rejects_pkey PRIMARY KEY (tenant_id, domain, entity_id);

ALTER TABLE ONLY public.login_throttle
    ADD CONSTRAINT login_throttle_pkey PRIMARY KEY (tenant_id, bucket, key);

ALTER TABLE ONLY public.mail_outbox
    ADD CONSTRAINT mail_outbox_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.migration_intents
    ADD CONSTRAINT migration_intents_pkey PRIMARY KEY (tenant_id, intent_id);

ALTER TABLE ONLY public.migration_moves
    ADD CONSTRAINT migration_moves_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.migration_state
    ADD CONSTRAINT migration_state_pkey PRIMARY KEY (tenant_id, domain);

ALTER TABLE ONLY public.mirror_marks
    ADD CONSTRAINT mirror_marks_pkey PRIMARY KEY (tenant_id, domain, mark_id);

ALTER TABLE ONLY public.one_time_tokens
    ADD CONSTRAINT one_time_tokens_pkey PRIMARY KEY (tenant_id, user_id, purpose);

ALTER TABLE ONLY public.payment_captures
    ADD CONSTRAINT payment_captures_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.payment_disputes
    ADD CONSTRAINT payment_disputes_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.payment_disputes
    ADD CONSTRAINT payment_disputes_reference_key UNIQUE (tenant_id, payment_id, reference);

ALTER TABLE ONLY public.payment_events
    ADD CONSTRAINT payment_events_pkey PRIMARY KEY (tenant_id, payment_id, seq);

ALTER TABLE ONLY public.payment_refunds
    ADD CONSTRAINT payment_refunds_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (tenant_id, session_id, generation);

ALTER TABLE ONLY public.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (tenant_id, name);

ALTER TABLE ONLY public.shadow_counts
    ADD CONSTRAINT shadow_counts_pkey PRIMARY KEY (tenant_id, domain, day);

ALTER TABLE ONLY public.shadow_mismatches
    ADD CONSTRAINT shadow_mismatches_pkey PRIMARY KEY (tenant_id, domain, entity_id);

ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (tenant_id, kid);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key UNIQUE (tenant_id, email_norm);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (tenant_id, endpoint_id, payment_id, seq);

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (tenant_id, id);

CREATE INDEX audit_log_at_idx ON public.audit_log USING btree (tenant_id, at, id);

CREATE INDEX audit_log_user_idx ON public.audit_log USING btree (tenant_id, user_id, at, id) WHERE (user_id IS NOT NULL);

CREATE INDEX auth_sessions_expiry_idx ON public.auth_sessions USING btree (tenant_id, absolute_expires_at);

CREATE INDEX auth_sessions_user_idx ON public.auth_sessions USING btree (tenant_id, user_id) WHERE (revoked_at IS NULL);

CREATE INDEX drift_runs_domain_idx ON public.drift_runs USING btree (tenant_id, domain, started_at);

CREATE INDEX idempotency_keys_expires_idx ON public.idempotency_keys USING btree (tenant_id, expires_at);

CREATE INDEX jobs_due_idx ON public.jobs USING btree (next_run_at) WHERE (NOT paused);

CREATE INDEX ledger_accounts_owner_idx ON public.ledger_accounts USING btree (tenant_id, owner_user_id) WHERE (owner_user_id IS NOT NULL);

CREATE INDEX ledger_entries_backdated_idx ON public.ledger_entries USING btree (tenant_id, account_id, posted_at) WHERE (effective_at <> posted_at);

CREATE INDEX ledger_holds_credit_idx ON public.ledger_holds USING btree (tenant_id, credit_account);

CREATE INDEX ledger_holds_debit_idx ON public.ledger_holds USING btree (tenant_id, debit_account);

CREATE INDEX ledger_holds_expires_idx ON public.ledger_holds USING btree (tenant_id, expires_at);

CREATE UNIQUE INDEX ledger_transactions_hold_key ON public.ledger_transactions USING btree (tenant_id, hold_id) WHERE ((status = 'applied'::public.ledger_outcome) AND final AND (kind = ANY (ARRAY['capture'::public.ledger_kind, 'void'::public.ledger_kind, 'expire'::public.ledger_kind])));

CREATE INDEX ledger_transactions_posted_idx ON public.ledger_transactions USING btree (tenant_id, posted_at, id);

CREATE UNIQUE INDEX ledger_transactions_reference_key ON public.ledger_transactions USING btree (tenant_id, reference) WHERE ((status = 'applied'::public.ledger_outcome) AND (reference IS NOT NULL));

CREATE UNIQUE INDEX ledger_transactions_reverses_key ON public.ledger_transactions USING btree (tenant_id, reverses) WHERE ((status = 'applied'::public.ledger_outcome) AND (reverses IS NOT NULL));

CREATE INDEX mail_outbox_due_idx ON public.mail_outbox USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE INDEX mail_outbox_user_idx ON public.mail_outbox USING btree (tenant_id, user_id);

CREATE UNIQUE INDEX migration_intents_entity_key ON public.migration_intents USING btree (tenant_id, domain, entity_id) WHERE (status = 'pending'::text);

CREATE UNIQUE INDEX migration_intents_idem_key ON public.migration_intents USING btree (tenant_id, idem_scope, idem_key) WHERE ((status = 'pending'::text) AND (idem_key IS NOT NULL));

CREATE INDEX migration_intents_lease_idx ON public.migration_intents USING btree (tenant_id, domain, lease_until) WHERE (status = 'pending'::text);

CREATE INDEX mirror_marks_due_idx ON public.mirror_marks USING btree (tenant_id, domain, shard, next_try_at);

CREATE INDEX payment_captures_payment_idx ON public.payment_captures USING btree (tenant_id, payment_id, id);

CREATE UNIQUE INDEX payment_captures_reference_key ON public.payment_captures USING btree (tenant_id, payment_id, reference) WHERE (reference IS NOT NULL);

CREATE INDEX payment_events_feed_idx ON public.payment_events USING btree (tenant_id, epoch, xid, payment_id, seq);

CREATE INDEX payment_refunds_payment_idx ON public.payment_refunds USING btree (tenant_id, payment_id, id);

CREATE UNIQUE INDEX payment_refunds_reference_key ON public.payment_refunds USING btree (tenant_id, payment_id, reference) WHERE (reference IS NOT NULL);

CREATE INDEX payments_capture_before_idx ON public.payments USING btree (tenant_id, capture_before) WHERE (capture_before IS NOT NULL);

CREATE INDEX payments_created_idx ON public.payments USING btree (tenant_id, created_at, id);

CREATE UNIQUE INDEX payments_legacy_key ON public.payments USING btree (tenant_id, legacy_id) WHERE (legacy_id IS NOT NULL);

CREATE UNIQUE INDEX payments_reference_key ON public.payments USING btree (tenant_id, user_id, reference) WHERE (reference IS NOT NULL);

CREATE INDEX payments_unposted_idx ON public.payments USING btree (tenant_id, id) WHERE unposted;

CREATE INDEX payments_user_idx ON public.payments USING btree (tenant_id, user_id, created_at, id);

CREATE INDEX refresh_tokens_issued_idx ON public.refresh_tokens USING btree (tenant_id, issued_at);

CREATE INDEX users_argon2_variants_idx ON public.users USING btree (tenant_id, id) WHERE (password_algo = ANY (ARRAY['argon2i'::text, 'argon2d'::text]));

CREATE UNIQUE INDEX users_legacy_id_key ON public.users USING btree (tenant_id, legacy_id) WHERE (legacy_id IS NOT NULL);

CREATE INDEX users_operators_idx ON public.users USING btree (tenant_id, id) WHERE (role = 'operator'::text);

CREATE INDEX users_password_class_idx ON public.users USING btree ("substring"(COALESCE(password_hash, legacy_password_hash), '^([$]2[aby][$][0-9]{2}|[$]argon2id[$]v=19[$][^$]{1,40})[$]'::text) COLLATE "C");

CREATE INDEX webhook_deliveries_due_idx ON public.webhook_deliveries USING btree (tenant_id, endpoint_id, next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE INDEX webhook_deliveries_failed_idx ON public.webhook_deliveries USING btree (tenant_id, endpoint_id, created_at) WHERE (state = 'failed'::public.webhook_delivery_state);

CREATE INDEX webhook_deliveries_log_idx ON public.webhook_deliveries USING btree (tenant_id, endpoint_id, created_at, payment_id, seq);

CREATE TRIGGER legacy_capture AFTER INSERT OR DELETE OR UPDATE ON public.payments FOR EACH ROW EXECUTE FUNCTION public.legacy_capture();

ALTER TABLE public.payments DISABLE TRIGGER legacy_capture;

CREATE TRIGGER legacy_capture AFTER INSERT OR DELETE OR UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.legacy_capture();

ALTER TABLE public.users DISABLE TRIGGER legacy_capture;

CREATE TRIGGER legacy_gate BEFORE INSERT OR DELETE OR UPDATE ON public.payments FOR EACH ROW EXECUTE FUNCTION public.legacy_gate();

ALTER TABLE public.payments DISABLE TRIGGER legacy_gate;

CREATE TRIGGER legacy_gate BEFORE INSERT OR DELETE OR UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.legacy_gate();

ALTER TABLE public.users DISABLE TRIGGER legacy_gate;

CREATE TRIGGER payment_events_in_order BEFORE INSERT ON public.payment_events FOR EACH ROW WHEN ((new.seq > 1)) EXECUTE FUNCTION public.payment_events_in_order();

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_replaced_by_fkey FOREIGN KEY (tenant_id, replaced_by) REFERENCES public.api_keys(tenant_id, id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(tenant_id);

ALTER TABLE ONLY public.auth_sessions
    ADD CONSTRAINT auth_sessions_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES public.users(tenant_id, id);

ALTER TABLE ONLY public.ledger_balances
    ADD CONSTRAINT ledger_balances_account_fkey FOREIGN KEY (tenant_id, account_id) REFERENCES public.ledger_accounts(tenant_id, account_id);

ALTER TABLE ONLY public.mail_outbox
    ADD CONSTRAINT mail_outbox_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES public.users(tenant_id, id);

ALTER TABLE ONLY public.one_time_tokens
    ADD CONSTRAINT one_time_tokens_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES public.users(tenant_id, id);

ALTER TABLE ONLY public.payment_captures
    ADD CONSTRAINT payment_captures_payment_fkey FOREIGN KEY (tenant_id, payment_id) REFERENCES public.payments(tenant_id, id);

ALTER TABLE ONLY public.payment_disputes
    ADD CONSTRAINT payment_disputes_payment_fkey FOREIGN KEY (tenant_id, payment_id) REFERENCES public.payments(tenant_id, id);

ALTER TABLE ONLY public.payment_refunds
    ADD CONSTRAINT payment_refunds_payment_fkey FOREIGN KEY (tenant_id, payment_id) REFERENCES public.payments(tenant_id, id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES public.users(tenant_id, id);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_session_fkey FOREIGN KEY (tenant_id, session_id) REFERENCES public.auth_sessions(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(tenant_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(tenant_id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_endpoint_fkey FOREIGN KEY (tenant_id, endpoint_id) REFERENCES public.webhook_endpoints(tenant_id, id);
