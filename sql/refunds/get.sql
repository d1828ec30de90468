-- refunds/get: one refund.
-- why: the payment is joined for its currency, and for its user: another's refund is not there.
-- params: tenant_id text, refund_id uuid, owner_id text?
-- kind: read | returns: 0..1
SELECT
    r.id, r.payment_id, r.reference, r.amount_minor, p.currency, r.fee_minor, r.reason, r.status, r.created_at
FROM payment_refunds AS r
INNER JOIN payments AS p ON p.tenant_id = :'tenant_id'::text AND r.payment_id = p.id
WHERE
    r.tenant_id = :'tenant_id'::text AND r.id = :'refund_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id);
