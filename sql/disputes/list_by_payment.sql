-- disputes/list_by_payment: the disputes of one payment, newest first, by keyset.
-- why: ids are made in the order of time, so the id alone is the position.
-- params: tenant_id text, payment_id uuid, owner_id text?, before_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT
    d.id, d.payment_id, d.reference, d.amount_minor, p.currency, d.fee_minor, d.reason, d.status, d.evidence_due_at,
    d.created_at, d.updated_at
FROM payments AS p
INNER JOIN payment_disputes AS d
    ON
        d.tenant_id = :'tenant_id'::text AND d.payment_id = :'payment_id'::uuid
        AND d.id < :'before_id'::uuid
WHERE
    p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
    AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id)
ORDER BY d.id DESC
LIMIT :'row_limit'::bigint;
