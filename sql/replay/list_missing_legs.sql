-- replay/list_missing_legs: sides of legs without their entry (L1).
-- why: only asked if the counts say that some are missing. An entry with another amount or time is
--   not missing but changed: replay/list_unfit_entries names it.
-- params: tenant_id text, everything boolean, code_from text, code_to text, currency text?, as_of text, since text
-- kind: read | returns: many | scan: tenant
SELECT
    s.account_id, a.code, a.currency::text AS currency, coalesce(s.stripe, 0)::bigint AS stripe,
    t.id AS tx_id, 'entry' AS field,
    'leg ' || l.leg || CASE s.side WHEN 1 THEN ' credit ' ELSE ' debit ' END || l.amount AS expected,
    NULL AS found
FROM ledger_transactions AS t
CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts, t.amounts)
WITH ORDINALITY AS l (debit, credit, amount, leg)
CROSS JOIN LATERAL (
    VALUES (-1, l.debit, t.stripes[l.leg][1]), (1, l.credit, t.stripes[l.leg][2])
) AS s (side, account_id, stripe)
LEFT JOIN ledger_accounts AS a
    ON a.tenant_id = :'tenant_id'::text AND s.account_id = a.account_id
WHERE
    t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
    AND t.posted_at > :'since'::text::timestamptz
    AND t.posted_at <= :'as_of'::text::timestamptz
    AND (
        :'everything'::boolean
        OR (
            a.code >= :'code_from'::text AND a.code < :'code_to'::text
            AND a.currency = coalesce(:'currency'::text, a.currency)
        )
    )
    AND NOT EXISTS (
        SELECT
        FROM ledger_entries AS e
        WHERE
            e.tenant_id = :'tenant_id'::text AND e.tx_id = t.id AND e.leg = l.leg
            AND e.side = s.side AND e.account_id = s.account_id
            AND e.stripe = coalesce(s.stripe, 0)
    );
