-- replay/list_unposted: payments whose postings wait for ledger-catch-up (L5).
-- why: time spent with the ledger off is no fault, but whoever reads the book should know of it.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT
    NULL::bigint AS account_id, NULL::text AS code, p.currency::text AS currency,
    NULL::bigint AS stripe, NULL::uuid AS tx_id, 'payment ' || p.id AS field, 'posted' AS expected,
    'unposted' AS found
FROM payments AS p
WHERE p.tenant_id = :'tenant_id'::text AND p.unposted
ORDER BY p.id;
