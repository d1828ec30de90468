-- migration_intents/get_by_key: what became of the write under an idempotency key.
-- why: while it is pending its retry waits (D11); in phase 1 its answer stands here only.
-- params: tenant_id text, idem_scope text, idem_key text
-- kind: read | returns: 0..1 | scan: tenant
SELECT
    i.intent_id, i.domain, i.entity_id, i.op, i.expected_version, i.row_after, i.answer,
    i.key_row, i.idem_scope, i.idem_key, i.status, i.lease_token, i.not_after
FROM migration_intents AS i
WHERE
    i.tenant_id = :'tenant_id'::text AND i.idem_scope = :'idem_scope'::text
    AND i.idem_key = :'idem_key'::text AND i.status <> 'refused'
ORDER BY i.created_at DESC
LIMIT 1;
