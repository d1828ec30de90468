-- drift_runs/list_busy: which of these keys are on their way: marked, or in a pending intent.
-- why: what is about to be copied is no drift (V4).
-- params: tenant_id text, domain text, entity_ids text[]
-- kind: read | returns: many | scan: tenant
SELECT m.entity_id
FROM mirror_marks AS m
WHERE
    m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
    AND m.entity_id = any(:'entity_ids'::text[])
UNION
SELECT i.entity_id
FROM migration_intents AS i
WHERE
    i.tenant_id = :'tenant_id'::text AND i.domain = :'domain'::text AND i.status = 'pending'
    AND i.entity_id = any(:'entity_ids'::text[]);
