-- legacy_id_pool/queue: ids that the legacy side has handed out wait for their rows.
-- why: nobody else gets them (D26); one that is here already was handed out twice, and is not used.
-- params: tenant_id text, domain text, legacy_ids text[]
-- kind: write | returns: count | locks: new rows only
INSERT INTO legacy_id_pool (tenant_id, domain, legacy_id)
SELECT :'tenant_id'::text, :'domain'::text, i.legacy_id
FROM unnest(:'legacy_ids'::text[]) AS i (legacy_id)
ON CONFLICT (tenant_id, domain, legacy_id) DO NOTHING;
