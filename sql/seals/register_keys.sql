-- seals/register_keys: note which public keys sign from now on, and that others do no more.
-- why: whoever checks an old checkpoint has to know which key was right then.
-- params: tenant_id text, public_keys bytea[]
-- kind: write | returns: count | scan: tenant | locks: the tenant's ledger_seal_keys rows
WITH gone AS (
    UPDATE ledger_seal_keys AS k
    SET valid_until = now()
    WHERE
        k.tenant_id = :'tenant_id'::text AND k.valid_until IS NULL
        AND k.public_key <> all(:'public_keys'::bytea[])
)
INSERT INTO ledger_seal_keys AS k (tenant_id, public_key)
SELECT :'tenant_id'::text, n.public_key
FROM unnest(:'public_keys'::bytea[]) AS n (public_key)
ON CONFLICT (tenant_id, public_key) DO UPDATE SET valid_until = NULL
WHERE k.valid_until IS NOT NULL;
