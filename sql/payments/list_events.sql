-- payments/list_events: what happened to one payment, in order.
-- params: tenant_id text, payment_id uuid, owner_id text?, after_seq bigint, row_limit bigint
-- why: the payment is joined so that another's events are as absent as the payment itself.
-- kind: read | returns: many
SELECT
    e.seq, e.type, e.amount_minor, e.status_from::text AS status_from,
    e.status_to::text AS status_to, e.after, e.object_id, e.actor, e.request_id, e.created_at
FROM payments AS p
INNER JOIN payment_events AS e
    ON
        e.tenant_id = :'tenant_id'::text AND e.payment_id = :'payment_id'::uuid
        AND e.seq > :'after_seq'::bigint
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id)
ORDER BY e.seq
LIMIT :'row_limit'::bigint;
