-- seals/list_keys: the public keys that have signed this tenant's checkpoints, and when.
-- why: shown to clients; which of them counts is decided by the settings, never by this table.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT k.public_key, k.valid_from, k.valid_until
FROM ledger_seal_keys AS k
WHERE k.tenant_id = :'tenant_id'::text
ORDER BY k.valid_from, k.public_key;
