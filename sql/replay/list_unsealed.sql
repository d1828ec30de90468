-- replay/list_unsealed: transactions at or below the watermark that are in no leaf (L4).
-- why: a row that was put in later, or that came late and nobody has looked for (LT6).
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT
    NULL::bigint AS account_id, NULL::text AS code, NULL::text AS currency, NULL::bigint AS stripe,
    t.id AS tx_id, 'leaf' AS field, 'in the tree' AS expected, NULL AS found
FROM ledger_transactions AS t
INNER JOIN ledger_seal_state AS k
    ON k.tenant_id = :'tenant_id'::text AND t.posted_at <= k.sealed_through
LEFT JOIN ledger_leaves AS s ON s.tenant_id = :'tenant_id'::text AND t.id = s.tx_id
WHERE t.tenant_id = :'tenant_id'::text AND s.idx IS NULL;
