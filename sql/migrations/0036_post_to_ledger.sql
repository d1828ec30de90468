-- How money moves over the API: one function for postings, holds, what resolves them, and
-- reversals, single or in batches (ADR 0018). It is called as the only statement of its
-- transaction: one round trip, one commit.

-- What became of one item: created, existing (its id was there, with the same request), rejected
-- (refused, which the id keeps), conflict (its id was there, with another request), invalid
-- (refused, nothing was written). Of the whole call (n 0), of which nothing was written: `again`,
-- where code says what to do first, or `used`: the idempotency key was.
CREATE TYPE ledger_result AS (
    n integer,
    outcome text,
    code text,
    -- Which member of the item is refused.
    pointer text,
    posted_at timestamptz,
    -- What the database has decided, under the names of the API's answers.
    facts jsonb,
    -- Of the idempotency key.
    expires_at timestamptz
);

-- A balance row that is locked, and where items look for it; NULL: only its money is wanted.
CREATE TYPE ledger_locked AS (
    place bigint,
    balance ledger_balances,
    code text,
    stripes smallint
);

-- Lock settings, holds and balances, always in this order, balances by (account, stripe): so two
-- postings never wait for each other (LP2). Each later statement sees what is committed by then.
CREATE FUNCTION ledger_lock(tenant text, request jsonb) RETURNS ledger_locked[]
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
                FROM ledger_transactions AS t
                CROSS JOIN LATERAL (
                    SELECT u.account_id, t.stripes[1][1] AS stripe
                    FROM unnest(t.debit_accounts) AS u (account_id)
                    UNION ALL
                    SELECT u.account_id, t.stripes[1][2] AS stripe
                    FROM unnest(t.credit_accounts) AS u (account_id)
                ) AS v
                INNER JOIN ledger_accounts AS a
                    ON a.tenant_id = tenant AND a.account_id = v.account_id
                WHERE t.tenant_id = tenant AND t.id = any(origins)
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

-- Write what was decided: one insert of headers, one of entries, one update of each balance
-- (LP10). Ids go in ascending order: two batches with crossing ids do not wait for each other.
CREATE FUNCTION ledger_write(
    tenant text, headers ledger_transactions[], balances ledger_balances[],
    entries ledger_entries[], holds ledger_holds[]
) RETURNS void
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

-- Which limit a change of one balance breaks: a code, or NULL. What does not make it worse may
-- pass: below a floor that force has broken, money may still come (LI5).
CREATE FUNCTION ledger_broken_limit(before ledger_balances, after ledger_balances) RETURNS text
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

-- Items that move the money of other stripes to the one that the account's items use: what is above
-- a floor, or without a floor all of it (LS3). The other stripes stand behind `main_count`.
CREATE FUNCTION ledger_levels(
    balances ledger_balances[], account_ids bigint[], main_count integer
) RETURNS jsonb
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

-- Overdue holds that keep `available` of an account low, or `reachable` high: their money is free
-- as soon as they are expired (LH5).
CREATE FUNCTION ledger_overdue(
    tenant text, b ledger_balances, code text, clock timestamptz, OUT hold_ids jsonb,
    OUT remaining bigint
)
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

-- `request` has
--   actor, request_id, stripe (the caller's number, taken modulo an account's stripes);
--   accounts [[code, currency]], each once, or origins: ids of holds and transactions;
--   items: see the column list below. `debits`, `credits` and the first of each pair of `expect`
--     are places in accounts, from 1; `twin` and `reference_twin` the number of the last item
--     before it with the same id or reference; those with one `party` succeed or fail together;
--     `stored`: a refusal may be stored, as the id is the client's;
--   backdate_max_days; key: the idempotency key to claim, with what its answer begins with;
--   flags, set by being there: dry_run, detail (facts are wanted), backdated (some item has
--     effective_at), gather (lock all stripes of accounts with a floor, and use their money),
--     level (move all money of striped accounts into their first stripe), patient (there is no
--     overdue hold left, so a shortage is final).
CREATE FUNCTION ledger_post(tenant text, request jsonb) RETURNS SETOF ledger_result
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

-- Whether a transaction is one of those that a list shows: each member of `wanted` narrows it.
CREATE FUNCTION ledger_matches(t ledger_transactions, wanted jsonb) RETURNS boolean
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
