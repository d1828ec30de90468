-- migration_intents/take_over: a write whose process has not settled it in time; one a call.
-- why: the new token shuts the old process out; `not_after` moves, so that step 3 may be done (D10).
-- params: tenant_id text, domain text, lease_token uuid, lease_ms bigint, timeout_ms bigint
-- kind: write | returns: 0..1 | locks: migration_intents row, skipping a locked one
UPDATE migration_intents AS i
SET
    lease_token = :'lease_token'::uuid,
    lease_until = now() + make_interval(secs => :'lease_ms'::bigint / 1000.0),
    not_after = now() + make_interval(secs => :'timeout_ms'::bigint / 1000.0)
WHERE
    i.tenant_id = :'tenant_id'::text AND i.intent_id = (
        SELECT e.intent_id
        FROM migration_intents AS e
        WHERE
            e.tenant_id = :'tenant_id'::text AND e.domain = :'domain'::text
            AND e.status = 'pending' AND e.lease_until < now()
        ORDER BY e.lease_until
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
RETURNING i.intent_id, i.domain, i.entity_id, i.op, i.expected_version, i.row_after, i.answer,
    i.key_row, i.idem_scope, i.idem_key, i.status, i.lease_token, i.not_after;
