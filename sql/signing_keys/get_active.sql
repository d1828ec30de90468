-- signing_keys/get_active: the key that signs now, and what time it is.
-- why: read for each token that is issued, so a revoked key signs nothing more, and all workers
-- change keys at the same moment, the database's (A44, A45).
-- params: tenant_id text
-- kind: read | returns: 0..1 | scan: tenant
SELECT
    k.kid,
    k.alg,
    k.private_enc,
    k.master_key_id,
    floor(extract(EPOCH FROM now()))::bigint AS now_s
FROM signing_keys AS k
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.active_from <= now()
    AND k.revoked_at IS NULL
ORDER BY k.active_from DESC, k.kid ASC
LIMIT 1;
