-- postings/get: one transaction, its legs by code, with what became of it.
-- why: also repeats the answer of a posting, so it has the balances after it: those of accounts with
--   one stripe, in the order in which the legs touch them.
-- params: tenant_id text, transaction_id uuid
-- kind: read | returns: 0..1
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
    ) AS leaf_index,
    b.balances
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
CROSS JOIN LATERAL (
    SELECT
        coalesce(jsonb_agg(jsonb_build_object(
            'account', a.code, 'currency', a.currency, 'posted_minor', e.balance_after,
            'version', e.version
        ) ORDER BY s.place), '[]') AS balances
    FROM (
        SELECT v.account_id, min(2 * x.leg + v.side) AS place
        FROM unnest(t.debit_accounts, t.credit_accounts) WITH ORDINALITY AS x (debit, credit, leg)
        CROSS JOIN LATERAL (VALUES (x.debit, 0), (x.credit, 1)) AS v (account_id, side)
        GROUP BY v.account_id
    ) AS s
    CROSS JOIN LATERAL (
        SELECT c.code, c.currency
        FROM ledger_accounts AS c
        WHERE
            c.tenant_id = :'tenant_id'::text AND c.account_id = s.account_id AND c.stripes = 1
        LIMIT 1
    ) AS a
    CROSS JOIN LATERAL (
        SELECT n.balance_after, n.version
        FROM ledger_entries AS n
        WHERE
            n.tenant_id = :'tenant_id'::text AND n.account_id = s.account_id AND n.stripe = 0
            AND n.posted_at = t.posted_at AND n.tx_id = t.id
        ORDER BY n.version DESC
        LIMIT 1
    ) AS e
) AS b
WHERE t.tenant_id = :'tenant_id'::text AND t.id = :'transaction_id'::uuid;
