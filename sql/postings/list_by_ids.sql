-- postings/list_by_ids: transactions by their ids, newest first; their legs by code.
-- why: a page of the log knows its ids first: then it reads those that it shows, and no others.
-- params: tenant_id text, ids uuid[]
-- kind: read | returns: many
-- present: legs, balances
SELECT
    t.id, t.kind::text AS kind, t.status::text AS status, t.reason, t.reference, t.hold_id,
    t.reverses, t.final, t.forced, t.posted_at, t.effective_at, t.expires_at, l.legs,
    t.released AS released_minor, t.metadata, t.actor, t.request_id,
    (
        SELECT r.id
        FROM ledger_transactions AS r
        WHERE r.tenant_id = :'tenant_id'::text AND r.reverses = t.id AND r.status = 'applied'
    ) AS reversed_by,
    (
        SELECT f.idx
        FROM ledger_leaves AS f
        WHERE f.tenant_id = :'tenant_id'::text AND f.tx_id = t.id
    ) AS leaf_index, '[]'::jsonb AS balances
FROM ledger_transactions AS t
CROSS JOIN LATERAL (
    SELECT
        coalesce(jsonb_agg(jsonb_build_object(
            'debit', dr.code, 'credit', cr.code, 'amount_minor', x.amount, 'currency', dr.currency
        ) ORDER BY x.leg), '[]') AS legs
    FROM unnest(t.debit_accounts, t.credit_accounts, t.amounts) WITH ORDINALITY
    AS x (debit, credit, amount, leg)
    CROSS JOIN LATERAL (
        SELECT a.code, a.currency
        FROM ledger_accounts AS a
        WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = x.debit
        LIMIT 1
    ) AS dr
    CROSS JOIN LATERAL (
        SELECT a.code
        FROM ledger_accounts AS a
        WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = x.credit
        LIMIT 1
    ) AS cr
) AS l
WHERE t.tenant_id = :'tenant_id'::text AND t.id = any(:'ids'::uuid[])
ORDER BY t.posted_at DESC, t.id DESC;
