-- signing_keys/begin: let nobody else make or revoke keys of the tenant until the transaction ends.
-- why: which key is in charge follows from all keys of the tenant, so two changes at once, each
-- blind for the other, could put two keys in charge, or none. What reads or signs does not wait.
-- params: tenant_id text
-- kind: write | returns: 0..1 | locks: tenants row
SELECT t.tenant_id
FROM tenants AS t
WHERE t.tenant_id = :'tenant_id'::text
FOR NO KEY UPDATE;
