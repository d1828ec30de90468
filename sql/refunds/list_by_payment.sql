-- refunds/list_by_payment: the refunds of one payment, newest first, by keyset.
-- why: ids are made in the order of time, so the id alone is the position.
-- params: tenant_id text, payment_id uuid, owner_id text?, before_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT
    r.id, r.payment_id, r.reference, r.amount_minor, p.currency, r.fee_minor, r.reason, r.status, r.created_at
FROM payments AS p
INNER JOIN payment_refunds AS r
    ON
        r.tenant_id = :'tenant_id'::text AND r.payment_id = :'payment_id'::uuid
        AND r.id < :'before_id'::uuid
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id)
ORDER BY r.id DESC
LIMIT :'row_limit'::bigint;
