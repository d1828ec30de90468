-- mirror_marks/mark: keys that may differ, and are to be copied.
-- why: a key marked twice is copied twice, which is harmless.
-- params: tenant_id text, domain text, entity_ids text[], origin text
-- kind: write | returns: count | locks: none
INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)
SELECT :'tenant_id'::text, :'domain'::text, e.entity_id, :'origin'::text
FROM unnest(:'entity_ids'::text[]) AS e (entity_id);
