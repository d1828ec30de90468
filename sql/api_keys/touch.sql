-- api_keys/touch: remember when and from where a key was used, at most once a minute.
-- why: guarded here as well as in the process, since many processes serve one key.
-- params: tenant_id text, key_id text, address inet?
-- kind: write | returns: count | locks: api_keys row
UPDATE api_keys AS k
SET
    last_used_at = now(),
    last_used_ip = :'address'::inet
WHERE
    k.tenant_id = :'tenant_id'::text
    AND k.id = :'key_id'::text
    AND (k.last_used_at IS NULL OR k.last_used_at <= now() - interval '1 minute');
