-- ledger/list_events: transactions in the order of their leaves, after a place.
-- why: a leaf is given once nothing can appear before it any more, so a reader who goes on after the
--   last place misses nothing, whatever commits late. What a clock that stepped back has put behind
--   the watermark has its leaf at the end, and is served there.
-- params: tenant_id text, after_idx bigint, row_limit bigint
-- kind: read | returns: many
-- present: legs
SELECT
    s.idx, s.late, t.id, t.kind::text AS kind, t.status::text AS status, t.reason, t.reference,
    t.hold_id, t.reverses, t.final, t.forced, t.posted_at, t.effective_at, t.expires_at,
    coalesce(l.legs, '[]') AS legs, t.released AS released_minor, t.metadata, t.actor, t.request_id
FROM ledger_leaves AS s
INNER JOIN ledger_transactions AS t ON t.tenant_id = :'tenant_id'::text AND s.tx_id = t.id
LEFT JOIN LATERAL (
    SELECT
        jsonb_agg(jsonb_build_object(
            'debit', dr.code, 'credit', cr.code, 'amount_minor', x.amount, 'currency', dr.currency
        ) ORDER BY x.leg) AS legs
    FROM unnest(t.debit_accounts, t.credit_accounts, t.amounts) WITH ORDINALITY
    AS x (debit, credit, amount, leg)
    INNER JOIN ledger_accounts AS dr
        ON dr.tenant_id = :'tenant_id'::text AND x.debit = dr.account_id
    INNER JOIN ledger_accounts AS cr
        ON cr.tenant_id = :'tenant_id'::text AND x.credit = cr.account_id
) AS l ON true
WHERE s.tenant_id = :'tenant_id'::text AND s.idx > :'after_idx'::bigint
ORDER BY s.idx
LIMIT :'row_limit'::bigint;
