-- mirrored_payments/set_legacy_id: under which id legacy has, or will have, this payment.
-- why: given once, before legacy is asked, so that a retry uses the same (D26). It is no change.
-- params: tenant_id text, payment_id uuid, legacy_id text
-- kind: write | returns: count | locks: payments row
UPDATE payments AS p
SET legacy_id = :'legacy_id'::text
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid AND p.legacy_id IS NULL;
