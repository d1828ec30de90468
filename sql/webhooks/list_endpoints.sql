-- webhooks/list_endpoints: a tenant's endpoints, oldest first, or the one that is named.
-- why: there are few (create_endpoint), so a list needs no pages; nobody reads a secret here.
-- params: tenant_id text, endpoint_id text?
-- kind: read | returns: many | scan: tenant
SELECT
    x.id, x.url, x.description, x.event_types, x.status::text AS status,
    x.disabled_reason::text AS disabled_reason, x.failing_since, x.last_success_at,
    CASE WHEN x.previous_until > now() THEN x.previous_until END AS previous_until,
    x.created_at, x.updated_at
FROM webhook_endpoints AS x
WHERE
    x.tenant_id = :'tenant_id'::text
    AND x.id = coalesce(:'endpoint_id'::text::uuid, x.id)
    AND x.status <> 'deleted'
ORDER BY x.id;
