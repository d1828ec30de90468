-- payments/get: one payment as it is now.
-- why: `overdue` is decided by the database's clock, job or no job.
-- params: tenant_id text, payment_id uuid, owner_id text?
-- kind: read | returns: 0..1
SELECT
    payment_json(p) || jsonb_build_object('overdue', coalesce(p.capture_before <= now(), false))
        AS payment
FROM payments AS p
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id);
