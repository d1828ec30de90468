-- webhooks/count_due: how many deliveries are due now.
-- why: `--dry-run` says what would be sent.
-- params: tenant_id text?
-- kind: read | returns: one | scan: all
SELECT count(*) AS due
FROM webhook_endpoints AS x
INNER JOIN webhook_deliveries AS d ON x.tenant_id = d.tenant_id AND x.id = d.endpoint_id
WHERE
    x.status = 'active'
    AND x.tenant_id = coalesce(:'tenant_id'::text, x.tenant_id)
    AND d.next_attempt_at <= now()
    AND (d.lease_until IS NULL OR d.lease_until <= now());
