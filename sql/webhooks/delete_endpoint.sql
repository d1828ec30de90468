-- webhooks/delete_endpoint: end an endpoint, and forget its secrets.
-- why: the row stays for the record of its deliveries; nothing is sent to it any more.
-- params: tenant_id text, endpoint_id uuid, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: webhook_endpoints row
WITH ended AS (
    UPDATE webhook_endpoints AS x
    SET
        status = 'deleted', disabled_reason = NULL, secret_enc = '', previous_secret_enc = NULL,
        previous_until = NULL, updated_at = now()
    WHERE
        x.tenant_id = :'tenant_id'::text AND x.id = :'endpoint_id'::uuid
        AND x.status <> 'deleted'
    RETURNING x.id
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, details)
    SELECT
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'webhook_endpoint_deleted',
        jsonb_build_object('endpoint_id', e.id)
    FROM ended AS e
)
SELECT e.id::text AS id FROM ended AS e;
