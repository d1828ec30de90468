-- signing_keys/set_private: the same private key, sealed under another master key.
-- why: guarded by what it was sealed under, so two that do this at once do no harm, and a key that
-- was revoked in between stays without its private part.
-- params: tenant_id text, kid text, old_master_key_id text, private_enc bytea, master_key_id text
-- kind: write | returns: count | locks: signing_keys row
UPDATE signing_keys AS k
SET private_enc = :'private_enc'::bytea, master_key_id = :'master_key_id'::text
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.kid = :'kid'::text
    AND k.master_key_id = :'old_master_key_id'::text
    AND k.private_enc IS NOT NULL;
