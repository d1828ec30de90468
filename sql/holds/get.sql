-- holds/get: a hold, open or resolved, by the transaction that made it.
-- why: the row in ledger_holds goes when the hold is resolved; its transactions stay.
-- params: tenant_id text, hold_id uuid
-- kind: read | returns: 0..1
SELECT
    t.id, dr.code AS debit, cr.code AS credit, dr.currency, t.amounts[1] AS amount_minor,
    CASE
        WHEN h.hold_id IS NOT NULL THEN t.amounts[1] - h.remaining
        WHEN r.kind = 'capture' THEN t.amounts[1] - r.released + r.amounts[1]
        ELSE t.amounts[1] - r.amounts[1]
    END AS captured_minor,
    coalesce(h.remaining, 0) AS remaining_minor,
    CASE
        WHEN h.expires_at > now() THEN 'open'
        WHEN r.kind = 'capture' THEN 'captured'
        WHEN r.kind = 'void' THEN 'voided'
        ELSE 'expired'
    END AS status,
    t.expires_at, t.reference, t.metadata, t.posted_at, t.actor, t.request_id,
    r.id AS resolved_by
FROM ledger_transactions AS t
CROSS JOIN LATERAL (
    SELECT a.code, a.currency
    FROM ledger_accounts AS a
    WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = t.debit_accounts[1]
    LIMIT 1
) AS dr
CROSS JOIN LATERAL (
    SELECT a.code
    FROM ledger_accounts AS a
    WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = t.credit_accounts[1]
    LIMIT 1
) AS cr
LEFT JOIN ledger_holds AS h ON h.tenant_id = :'tenant_id'::text AND h.hold_id = t.id
LEFT JOIN ledger_transactions AS r
    ON
        r.tenant_id = :'tenant_id'::text AND r.hold_id = t.id AND r.status = 'applied' AND r.final
        AND r.kind IN ('capture', 'void', 'expire')
WHERE
    t.tenant_id = :'tenant_id'::text AND t.id = :'hold_id'::uuid AND t.kind = 'hold'
    AND t.status = 'applied';
