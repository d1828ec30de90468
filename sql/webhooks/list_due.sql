-- webhooks/list_due: active endpoints that are owed a delivery now.
-- why: a plain read, so that idle workers lock nothing. Who does not answer well gets fewer at once.
-- params: tenant_id text?
-- kind: read | returns: many | scan: all
SELECT x.tenant_id, x.id, x.failing_since IS NOT NULL AS is_failing
FROM webhook_endpoints AS x
WHERE
    x.status = 'active'
    AND x.tenant_id = coalesce(:'tenant_id'::text, x.tenant_id)
    AND EXISTS (
        SELECT FROM webhook_deliveries AS d
        WHERE
            d.tenant_id = x.tenant_id AND d.endpoint_id = x.id AND d.next_attempt_at <= now()
            AND (d.lease_until IS NULL OR d.lease_until <= now())
    )
ORDER BY x.tenant_id, x.id;
