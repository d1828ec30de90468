-- legacy_rejects/list_open: rows that were set aside and are not mended, by keyset.
-- why: an operator works through them.
-- params: tenant_id text, domain text, after_id text, row_limit bigint
-- kind: read | returns: many
SELECT
    r.entity_id, r.direction, r.code, r.columns, r.first_seen, r.last_seen, r.waived_by, r.reason
FROM legacy_rejects AS r
WHERE
    r.tenant_id = :'tenant_id'::text AND r.domain = :'domain'::text
    AND r.entity_id > :'after_id'::text AND r.resolved_at IS NULL
ORDER BY r.entity_id
LIMIT :'row_limit'::bigint;
