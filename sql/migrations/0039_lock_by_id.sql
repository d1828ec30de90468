-- As in 0036, but that it asks for each transaction by itself: PostgreSQL 16 thinks ten look-ups
-- dearer than reading the ids of a whole (still empty) book, and keeps that plan.
-- Lock settings, holds and balances, always in this order, balances by (account, stripe): so two
-- postings never wait for each other (LP2). Each later statement sees what is committed by then.
CREATE OR REPLACE FUNCTION ledger_lock(tenant text, request jsonb) RETURNS ledger_locked[]
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
