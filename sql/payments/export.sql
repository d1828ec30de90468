-- payments/export: all payments of a tenant that pass the filters, oldest first.
-- why: read by a server-side cursor in one snapshot, so a row is held no longer than it is written.
-- params: tenant_id text, statuses text, currency text?, reference text?, created_gte text, created_lt text, amount_gte bigint, amount_lte bigint, metadata text
-- kind: read | returns: many
SELECT
    payment_json(p)
    || jsonb_build_object('overdue', coalesce(p.capture_before <= now(), false)) AS payment
FROM payments AS p
WHERE
    p.tenant_id = :'tenant_id'::text
    AND p.created_at >= :'created_gte'::text::timestamptz
    AND p.created_at < :'created_lt'::text::timestamptz
    AND (:'statuses'::text = '' OR p.status::text = any(string_to_array(:'statuses'::text, ',')))
    AND p.currency = coalesce(:'currency'::text, p.currency)
    AND (:'reference'::text IS NULL OR p.reference = :'reference'::text)
    AND p.amount_minor BETWEEN :'amount_gte'::bigint AND :'amount_lte'::bigint
    AND p.metadata @> :'metadata'::text::jsonb
ORDER BY p.created_at, p.id;
