-- replay/list_mixed_legs: legs between accounts of two currencies, or to none (L0).
-- why: only asked if replay/check_headers has counted some.
-- params: tenant_id text, as_of text, since text
-- kind: read | returns: many | scan: tenant
SELECT
    NULL::bigint AS account_id, NULL::text AS code, NULL::text AS currency, NULL::bigint AS stripe,
    t.id AS tx_id, 'leg ' || l.leg || ' currency' AS field, dr.currency::text AS expected,
    cr.currency::text AS found
FROM ledger_transactions AS t
CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts)
WITH ORDINALITY AS l (debit, credit, leg)
LEFT JOIN ledger_accounts AS dr
    ON dr.tenant_id = :'tenant_id'::text AND l.debit = dr.account_id
LEFT JOIN ledger_accounts AS cr
    ON cr.tenant_id = :'tenant_id'::text AND l.credit = cr.account_id
WHERE
    t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
    AND t.posted_at > :'since'::text::timestamptz
    AND t.posted_at <= :'as_of'::text::timestamptz
    AND (dr.currency = cr.currency) IS NOT TRUE;
