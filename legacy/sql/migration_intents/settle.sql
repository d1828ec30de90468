-- migration_intents/settle: a write is done, or definitely was not (2.3, tx2).
-- why: fenced by the lease's token: who was overtaken changes nothing (D10).
-- params: tenant_id text, intent_id uuid, lease_token uuid, status text, refused_code text?
-- kind: write | returns: count | locks: migration_intents row
UPDATE migration_intents AS i
SET status = :'status'::text, refused_code = :'refused_code'::text, settled_at = now()
WHERE
    i.tenant_id = :'tenant_id'::text AND i.intent_id = :'intent_id'::uuid
    AND i.lease_token = :'lease_token'::uuid AND i.status = 'pending';
