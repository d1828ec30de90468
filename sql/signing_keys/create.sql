-- signing_keys/create: a new key, unless the newest one is younger than older_than_s (0: always).
-- why: a tenant's first key signs at once; each further one is published lead_s before it signs,
-- so that whoever keeps our key set so long has it in time (A44). After signing_keys/begin.
-- params: tenant_id text, kid text, alg text, public_jwk jsonb, private_enc bytea,
--   master_key_id text, older_than_s bigint, lead_s bigint, audit_id uuid, subject text
-- kind: write | returns: 0..1 | scan: tenant | locks: none: only new rows
WITH held AS (
    SELECT
        max(k.created_at) AS newest,
        -- A key that was made a moment ago may be ahead of our clock: we have waited for its end.
        coalesce(bool_or(k.active_from <= greatest(now(), k.created_at)), false) AS one_signs
    FROM signing_keys AS k
    WHERE k.tenant_id = :'tenant_id'::text AND k.revoked_at IS NULL
),

created AS (
    INSERT INTO signing_keys (
        tenant_id, kid, alg, public_jwk, private_enc, master_key_id, active_from
    )
    SELECT
        :'tenant_id'::text,
        :'kid'::text,
        :'alg'::text,
        :'public_jwk'::jsonb,
        :'private_enc'::bytea,
        :'master_key_id'::text,
        CASE
            WHEN held.one_signs THEN now() + make_interval(secs => :'lead_s'::bigint)
            ELSE now()
        END
    FROM held
    WHERE
        :'older_than_s'::bigint = 0
        OR coalesce(held.newest <= now() - make_interval(secs => :'older_than_s'::bigint), true)
    RETURNING tenant_id, kid, alg, active_from
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, details)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'signing_key_created',
        jsonb_build_object('kid', c.kid, 'alg', c.alg, 'active_from', c.active_from)
    FROM created AS c
)

SELECT c.kid
FROM created AS c;
