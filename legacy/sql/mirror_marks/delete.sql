-- mirror_marks/delete: what was copied is no longer dirty.
-- why: exactly the marks that were read before the rows: one that came meanwhile stays (D21).
-- params: tenant_id text, domain text, mark_ids uuid[]
-- kind: write | returns: count | locks: mirror_marks rows
DELETE FROM mirror_marks AS m
WHERE
    m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
    AND m.mark_id = any(:'mark_ids'::uuid[]);
