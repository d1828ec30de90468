-- checks/payments_keys: what a completed key says it has made exists.
-- why: a key and its effect commit together or not at all; a key alone would be a lost payment.
-- params: none
-- kind: read | returns: many | scan: all
SELECT k.tenant_id, k.scope, k.key, k.operation, k.resource_type, k.resource_id
FROM idempotency_keys AS k
WHERE
    k.kind = 'completed'
    -- What operators command is no payment: it keeps its answer only.
    AND k.operation NOT LIKE 'POST /v1/ops/%'
    AND NOT CASE k.resource_type
        WHEN 'payment' THEN EXISTS (
            SELECT FROM payments AS p WHERE p.tenant_id = k.tenant_id AND p.id = k.resource_id
        )
        WHEN 'refund' THEN EXISTS (
            SELECT FROM payment_refunds AS r WHERE r.tenant_id = k.tenant_id AND r.id = k.resource_id
        )
        WHEN 'dispute' THEN EXISTS (
            SELECT FROM payment_disputes AS d
            WHERE d.tenant_id = k.tenant_id AND d.id = k.resource_id
        )
        WHEN 'ledger_transaction' THEN EXISTS (
            SELECT FROM ledger_transactions AS t
            WHERE t.tenant_id = k.tenant_id AND t.id = k.resource_id AND t.status = 'applied'
        )
        ELSE false
    END
LIMIT 100;
