-- replay_changes/set_holds: set open holds to what their transactions say, where they differ.
-- why: under the locks of hold and balances nobody resolves them. `make_missing`: those whose row
--   is lost are made anew, else only rows that are there are changed or taken away.
-- params: tenant_id text, hold_ids uuid[], make_missing boolean
-- kind: write | returns: many | scan: tenant | locks: ledger_holds rows, held already
WITH resolved AS (
    SELECT
        t.hold_id, sum(coalesce(t.released, t.amounts[1]))::bigint AS released,
        bool_or(t.final) AS is_over
    FROM ledger_transactions AS t
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.hold_id = any(:'hold_ids'::uuid[])
        AND t.status = 'applied' AND t.kind IN ('capture', 'void', 'expire')
    GROUP BY t.hold_id
),
opened AS (
    SELECT
        t.hold_id, t.debit_accounts[1] AS debit_account, t.credit_accounts[1] AS credit_account,
        t.stripes, t.amounts[1] AS amount, t.amounts[1] - coalesce(r.released, 0) AS remaining,
        t.expires_at, t.posted_at
    FROM ledger_transactions AS t
    LEFT JOIN resolved AS r ON t.hold_id = r.hold_id
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.hold_id = any(:'hold_ids'::uuid[])
        AND t.status = 'applied' AND t.kind = 'hold' AND r.is_over IS NOT TRUE
),
known AS (
    SELECT
        h.hold_id, h.debit_account, h.credit_account, h.stripes, h.amount, h.remaining, h.expires_at
    FROM ledger_holds AS h
    WHERE h.tenant_id = :'tenant_id'::text AND h.hold_id = any(:'hold_ids'::uuid[])
),
gone AS (
    DELETE FROM ledger_holds AS h
    USING known AS k
    WHERE
        h.tenant_id = :'tenant_id'::text AND h.hold_id = k.hold_id
        AND NOT EXISTS (SELECT FROM opened AS o WHERE o.hold_id = k.hold_id)
    RETURNING h.hold_id
),
changed AS (
    UPDATE ledger_holds AS h
    SET
        debit_account = o.debit_account, credit_account = o.credit_account, stripes = o.stripes,
        amount = o.amount, remaining = o.remaining, expires_at = coalesce(o.expires_at, k.expires_at)
    FROM opened AS o
    INNER JOIN known AS k ON o.hold_id = k.hold_id
    WHERE
        h.tenant_id = :'tenant_id'::text AND h.hold_id = o.hold_id
        AND (
            (k.debit_account, k.credit_account, k.amount, k.remaining)
            <> (o.debit_account, o.credit_account, o.amount, o.remaining)
            OR k.stripes IS DISTINCT FROM o.stripes
            OR k.expires_at <> o.expires_at
        )
    RETURNING h.hold_id
),
made AS (
    INSERT INTO ledger_holds AS h (
        tenant_id, hold_id, debit_account, credit_account, stripes, amount, remaining, expires_at,
        created_at
    )
    SELECT
        :'tenant_id'::text, o.hold_id, o.debit_account, o.credit_account, o.stripes, o.amount,
        o.remaining, coalesce(o.expires_at, o.posted_at), o.posted_at
    FROM opened AS o
    WHERE
        :'make_missing'::boolean
        AND NOT EXISTS (SELECT FROM known AS k WHERE k.hold_id = o.hold_id)
    RETURNING h.hold_id
)
SELECT
    coalesce(o.debit_account, k.debit_account) AS account_id, a.code,
    a.currency::text AS currency, NULL::bigint AS stripe, c.hold_id AS tx_id, 'hold' AS field,
    'open with ' || o.remaining || ' of ' || o.amount || ' until ' || o.expires_at AS expected,
    'open with ' || k.remaining || ' of ' || k.amount || ' until ' || k.expires_at AS found
FROM (
    SELECT g.hold_id FROM gone AS g
    UNION ALL
    SELECT d.hold_id FROM changed AS d
    UNION ALL
    SELECT m.hold_id FROM made AS m
) AS c
LEFT JOIN opened AS o ON c.hold_id = o.hold_id
LEFT JOIN known AS k ON c.hold_id = k.hold_id
LEFT JOIN ledger_accounts AS a
    ON
        a.tenant_id = :'tenant_id'::text
        AND a.account_id = coalesce(o.debit_account, k.debit_account);
