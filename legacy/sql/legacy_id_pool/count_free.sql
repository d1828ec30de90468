-- legacy_id_pool/count_free: how many ids of the legacy side are at hand.
-- why: the mirror keeps some, so that new can make rows while legacy is away (D26).
-- params: tenant_id text, domain text
-- kind: read | returns: one
-- present: count
SELECT count(*)
FROM legacy_id_pool AS i
WHERE
    i.tenant_id = :'tenant_id'::text AND i.domain = :'domain'::text AND i.taken_at IS NULL;
