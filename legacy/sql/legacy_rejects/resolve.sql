-- legacy_rejects/resolve: these rows were taken over after all.
-- why: what was mended over there is no finding any more.
-- params: tenant_id text, domain text, entity_ids text[]
-- kind: write | returns: count | locks: legacy_rejects rows
UPDATE legacy_rejects AS r
SET resolved_at = now()
WHERE
    r.tenant_id = :'tenant_id'::text AND r.domain = :'domain'::text
    AND r.entity_id = any(:'entity_ids'::text[]) AND r.resolved_at IS NULL;
