-- Plain postings in one go: all of a batch if each can be posted, or none of it (ADR 0018).

-- Post transactions that stand only on balances, as if one after another. Returns the time of the
-- first, each next one is a microsecond later; or NULL: something stands against one of them, and
-- nothing has happened. Then ledger_post says what, item by item.
-- Accounts are by place: `codes` and `currencies` each once; `debits` and `credits` are places in
-- them, by leg. `items` says which item a leg is of, `first_legs` and `last_legs` which legs an item
-- has. `hashes` has 32 bytes for each item. All places count from 1.
CREATE FUNCTION ledger_post_plain(
    tenant text, actor text, request_id text, thread integer, codes text[], currencies text[],
    ids uuid[], kinds ledger_kind[], hashes bytea, refs text[], metadata jsonb[],
    metadata_hashes bytea[], first_legs integer[], last_legs integer[], items integer[],
    debits integer[], credits integer[], amounts bigint[]
) RETURNS timestamptz
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
