-- ledger_restore/record_transactions: write transactions as the lines of an export say, times too.
-- why: what comes back is each line made anew from the row as it is stored, by what an export is
--   made with: equal lines are equal transactions (LX4). Leaves get the places that they had.
-- params: tenant_id text, lines jsonb
-- kind: write | returns: many | locks: none: only new rows
WITH given AS MATERIALIZED (
    SELECT
        n.place, n.line -> 'leaf' AS leaf, nullif(n.line -> 'metadata', 'null') AS metadata,
        (n.line ->> 'index')::bigint AS idx, n.line ->> 'request_id' AS request_id,
        translate(n.line ->> 'stripes', '[]', '{}')::smallint[] AS stripes,
        (n.line ->> 'late')::boolean AS late
    FROM jsonb_array_elements(:'lines'::jsonb) WITH ORDINALITY AS n (line, place)
),
made AS (
    INSERT INTO ledger_transactions AS t (
        tenant_id, id, kind, status, reason, reference, hold_id, reverses, final, forced,
        posted_at, effective_at, debit_accounts, credit_accounts, amounts, stripes, released,
        request_hash, metadata, metadata_hash, actor, request_id, expires_at
    )
    SELECT
        :'tenant_id'::text, (g.leaf ->> 'id')::uuid, (g.leaf ->> 'kind')::ledger_kind,
        (g.leaf ->> 'status')::ledger_outcome, g.leaf ->> 'reason', g.leaf ->> 'reference',
        (g.leaf ->> 'hold_id')::uuid, (g.leaf ->> 'reverses')::uuid,
        (g.leaf ->> 'final')::boolean, (g.leaf ->> 'forced')::boolean,
        (g.leaf ->> 'posted_at')::timestamptz, (g.leaf ->> 'effective_at')::timestamptz,
        l.debits, l.credits, l.amounts, g.stripes, (g.leaf ->> 'released')::bigint,
        decode(g.leaf ->> 'request_sha256', 'hex'), g.metadata,
        decode(g.leaf ->> 'metadata_sha256', 'hex'), g.leaf ->> 'actor', g.request_id,
        (g.leaf ->> 'expires_at')::timestamptz
    FROM given AS g
    CROSS JOIN LATERAL (
        SELECT
            coalesce(array_agg(dr.account_id ORDER BY n.leg), '{}') AS debits,
            coalesce(array_agg(cr.account_id ORDER BY n.leg), '{}') AS credits,
            coalesce(array_agg((n.words ->> 3)::bigint ORDER BY n.leg), '{}') AS amounts
        FROM jsonb_array_elements(g.leaf -> 'legs') WITH ORDINALITY AS n (words, leg)
        INNER JOIN ledger_accounts AS dr
            ON
                dr.tenant_id = :'tenant_id'::text AND dr.code = n.words ->> 0
                AND dr.currency = n.words ->> 2
        INNER JOIN ledger_accounts AS cr
            ON
                cr.tenant_id = :'tenant_id'::text AND cr.code = n.words ->> 1
                AND cr.currency = n.words ->> 2
    ) AS l
    RETURNING t.id, t AS tx
),
leaves AS (
    INSERT INTO ledger_leaves (tenant_id, idx, tx_id, late)
    SELECT :'tenant_id'::text, g.idx, (g.leaf ->> 'id')::uuid, g.late
    FROM given AS g
    WHERE g.idx IS NOT NULL
)
SELECT
    '{"leaf":' || ledger_leaf(m.tx, l.legs) || ',"metadata":'
    || coalesce((m.tx).metadata::text, 'null') || ',"index":' || coalesce(g.idx::text, 'null')
    || ',"stripes":' || coalesce(to_json((m.tx).stripes)::text, 'null')
    || ',"request_id":' || to_json((m.tx).request_id)::text || '}' AS line
FROM made AS m
INNER JOIN given AS g ON m.id = (g.leaf ->> 'id')::uuid
CROSS JOIN LATERAL (
    SELECT
        coalesce(string_agg(
            '["' || dr.code || '","' || cr.code || '","' || dr.currency || '",' || n.amount || ']',
            ',' ORDER BY n.leg
        ), '') AS legs
    FROM unnest((m.tx).debit_accounts, (m.tx).credit_accounts, (m.tx).amounts)
    WITH ORDINALITY AS n (debit, credit, amount, leg)
    INNER JOIN ledger_accounts AS dr
        ON dr.tenant_id = :'tenant_id'::text AND dr.account_id = n.debit
    INNER JOIN ledger_accounts AS cr
        ON cr.tenant_id = :'tenant_id'::text AND cr.account_id = n.credit
) AS l
ORDER BY g.place;
