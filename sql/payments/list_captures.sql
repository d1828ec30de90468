-- payments/list_captures: the captures of one payment, newest first, by keyset.
-- why: ids are made in the order of time, so the id alone is the position.
-- params: tenant_id text, payment_id uuid, owner_id text?, before_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT
    c.id, c.payment_id, c.reference, c.amount_minor, p.currency, c.fee_minor, c.final, c.created_at
FROM payments AS p
INNER JOIN payment_captures AS c
    ON
        c.tenant_id = :'tenant_id'::text AND c.payment_id = :'payment_id'::uuid
        AND c.id < :'before_id'::uuid
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id)
ORDER BY c.id DESC
LIMIT :'row_limit'::bigint;
