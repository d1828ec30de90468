-- signing_keys/list_by_tenant: every key of a tenant with its state, newest first.
-- why: the state is nowhere stored: it follows from the times, by one clock for all workers (A44).
-- A key that is no longer in charge stays published keep_s long, as its last token lives so long.
-- params: tenant_id text, keep_s bigint
-- kind: read | returns: many | scan: tenant
WITH live AS (
    SELECT
        k.kid,
        lead(k.active_from) OVER (ORDER BY k.active_from ASC, k.kid DESC) AS retired_at
    FROM signing_keys AS k
    WHERE k.tenant_id = :'tenant_id'::text AND k.revoked_at IS NULL
)

SELECT
    k.tenant_id,
    k.kid,
    k.alg,
    k.public_jwk,
    k.master_key_id,
    k.created_at,
    k.active_from,
    live.retired_at,
    k.revoked_at,
    floor(extract(EPOCH FROM now() - k.created_at))::bigint AS age_s,
    CASE
        WHEN k.revoked_at IS NOT NULL THEN 'revoked'
        WHEN k.active_from > now() THEN 'standby'
        WHEN live.retired_at IS NULL OR live.retired_at > now() THEN 'active'
        WHEN live.retired_at + make_interval(secs => :'keep_s'::bigint) > now() THEN 'retired'
        ELSE 'ended'
    END AS state,
    t.status = 'active' AS tenant_active
FROM signing_keys AS k
INNER JOIN tenants AS t ON k.tenant_id = t.tenant_id
LEFT JOIN live ON k.kid = live.kid
WHERE k.tenant_id = :'tenant_id'::text
ORDER BY k.active_from DESC, k.kid ASC;
