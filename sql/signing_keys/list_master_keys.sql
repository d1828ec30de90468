-- signing_keys/list_master_keys: which master keys are needed to open what is stored.
-- why: a process that lacks one must not begin to serve; it asks once, for all tenants.
-- params: none
-- kind: read | returns: many | scan: all
SELECT DISTINCT k.master_key_id
FROM signing_keys AS k
WHERE k.private_enc IS NOT NULL
ORDER BY k.master_key_id;
