-- disputes/get: one dispute.
-- why: the payment is joined for its currency, and for its user: another's dispute is not there.
-- params: tenant_id text, dispute_id uuid, owner_id text?
-- kind: read | returns: 0..1
SELECT
    d.id, d.payment_id, d.reference, d.amount_minor, p.currency, d.fee_minor, d.reason, d.status, d.evidence_due_at,
    d.created_at, d.updated_at
FROM payment_disputes AS d
INNER JOIN payments AS p ON p.tenant_id = :'tenant_id'::text AND d.payment_id = p.id
WHERE
    d.tenant_id = :'tenant_id'::text AND d.id = :'dispute_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id);
