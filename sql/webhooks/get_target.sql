-- webhooks/get_target: where an endpoint is, and its sealed secrets.
-- why: for a test call, which leaves no delivery.
-- params: tenant_id text, endpoint_id uuid
-- kind: read | returns: 0..1
SELECT
    x.url, x.secret_enc,
    CASE WHEN x.previous_until > now() THEN x.previous_secret_enc END AS previous_secret_enc
FROM webhook_endpoints AS x
WHERE
    x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid AND x.status <> 'deleted';
