-- signing_keys/list_sealed: the private keys of a tenant that another master key has sealed.
-- why: they are sealed again under the new one, after which the old one is needed by none.
-- params: tenant_id text, master_key_id text
-- kind: read | returns: many | scan: tenant
SELECT
    k.kid,
    k.private_enc,
    k.master_key_id
FROM signing_keys AS k
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.master_key_id <> :'master_key_id'::text
    AND k.private_enc IS NOT NULL
ORDER BY k.kid;
