-- payments/get_capture: one capture.
-- why: the payment is joined for its currency, and for its user: another's capture is not there.
-- params: tenant_id text, capture_id uuid, owner_id text?
-- kind: read | returns: 0..1
SELECT
    c.id, c.payment_id, c.reference, c.amount_minor, p.currency, c.fee_minor, c.final, c.created_at
FROM payment_captures AS c
INNER JOIN payments AS p ON p.tenant_id = :'tenant_id'::text AND c.payment_id = p.id
WHERE
    c.tenant_id = :'tenant_id'::text AND c.id = :'capture_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id);
