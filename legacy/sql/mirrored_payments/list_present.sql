-- mirrored_payments/list_present: which of these legacy ids new has.
-- why: what was neither inserted nor is there hit another unique key (D29).
-- params: tenant_id text, legacy_ids text[]
-- kind: read | returns: many
SELECT p.legacy_id
FROM payments AS p
WHERE p.tenant_id = :'tenant_id'::text AND p.legacy_id = any(:'legacy_ids'::text[]);
