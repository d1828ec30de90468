-- migration_intents/begin: a write to the legacy store is about to be sent (2.3, tx1).
-- why: noted under the gate, so that the phase cannot change before it is settled (D13). A row or key
--   that another pending write has gives no row.
-- params: tenant_id text, intent_id uuid, domain text, entity_id text, op text,
--   expected_version bigint, row_after jsonb, answer jsonb, key_row jsonb, idem_scope text?,
--   idem_key text?, lease_token uuid, lease_ms bigint, timeout_ms bigint
-- kind: write | returns: 0..1 | locks: none
INSERT INTO migration_intents (
    tenant_id, intent_id, domain, entity_id, op, expected_version, row_after, answer, key_row,
    idem_scope, idem_key, lease_token, lease_until, not_after
)
VALUES (
    :'tenant_id'::text, :'intent_id'::uuid, :'domain'::text, :'entity_id'::text, :'op'::text,
    :'expected_version'::bigint, :'row_after'::jsonb, :'answer'::jsonb, :'key_row'::jsonb,
    :'idem_scope'::text, :'idem_key'::text, :'lease_token'::uuid,
    now() + make_interval(secs => :'lease_ms'::bigint / 1000.0),
    now() + make_interval(secs => :'timeout_ms'::bigint / 1000.0)
)
ON CONFLICT DO NOTHING
RETURNING intent_id, domain, entity_id, op, expected_version, row_after, answer, key_row,
    idem_scope, idem_key, status, lease_token, not_after;
