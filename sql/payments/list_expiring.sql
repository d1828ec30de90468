-- payments/list_expiring: authorisations that are overdue, or soon will be and nobody was told.
-- why: read page by page in the order of the index, so that one that is locked does not stop the rest.
-- params: tenant_id text, warning_s bigint, after_at text, after_id uuid, row_limit bigint
-- kind: read | returns: many
-- present: capture_before is_overdue
SELECT p.id, p.capture_before, p.capture_before <= now() AS is_overdue
FROM payments AS p
WHERE
    p.tenant_id = :'tenant_id'::text
    AND p.capture_before <= now() + make_interval(secs => :'warning_s'::bigint)
    AND (p.capture_before, p.id) > (:'after_at'::text::timestamptz, :'after_id'::uuid)
    AND (p.capture_before <= now() OR NOT p.expiry_warned)
ORDER BY p.capture_before, p.id
LIMIT :'row_limit'::bigint;
