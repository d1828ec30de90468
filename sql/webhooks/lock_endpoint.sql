-- webhooks/lock_endpoint: hold an endpoint until the transaction ends; no row: there is none.
-- why: who adds, finishes or repeats deliveries does it alone: the next statement sees all of them,
--   where a chain that waited within one statement would see them as they were before the wait.
-- params: tenant_id text, endpoint_id uuid
-- kind: write | returns: 0..1 | locks: webhook_endpoints row
SELECT x.status::text AS status
FROM webhook_endpoints AS x
WHERE
    x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid AND x.status <> 'deleted'
FOR NO KEY UPDATE;
