-- signing_keys/revoke: end a key and all tokens that it has signed; in its place a new one signs.
-- why: one statement, so there is no moment without a key in charge (A45). A key that was not in
-- charge needs no successor; one that is revoked already stays as it is. After signing_keys/begin.
-- params: tenant_id text, kid text, reason text?, audit_id uuid, new_kid text, new_alg text,
--   new_public_jwk jsonb, new_private_enc bytea, new_master_key_id text, new_audit_id uuid,
--   subject text
-- kind: write | returns: 0..1 | scan: tenant | locks: signing_keys row
WITH target AS (
    SELECT
        k.tenant_id,
        k.kid,
        k.active_from,
        k.revoked_at
    FROM signing_keys AS k
    WHERE k.tenant_id = :'tenant_id'::text AND k.kid = :'kid'::text
    FOR NO KEY UPDATE
),

revoked AS (
    UPDATE signing_keys AS k
    SET revoked_at = now(), private_enc = NULL
    FROM target
    WHERE
        k.tenant_id = :'tenant_id'::text
        AND k.kid = target.kid
        AND target.revoked_at IS NULL
    RETURNING k.tenant_id, k.kid, k.active_from, k.created_at
),

-- A key that was made a moment ago may be ahead of our clock: we have waited for its end.
created AS (
    INSERT INTO signing_keys (
        tenant_id, kid, alg, public_jwk, private_enc, master_key_id, active_from
    )
    SELECT
        r.tenant_id,
        :'new_kid'::text,
        :'new_alg'::text,
        :'new_public_jwk'::jsonb,
        :'new_private_enc'::bytea,
        :'new_master_key_id'::text,
        greatest(now(), r.active_from)
    FROM revoked AS r
    WHERE
        r.active_from <= greatest(now(), r.created_at)
        AND NOT EXISTS (
            SELECT 1
            FROM signing_keys AS k
            WHERE
                k.tenant_id = :'tenant_id'::text
                AND k.kid <> r.kid
                AND k.revoked_at IS NULL
                AND k.active_from BETWEEN r.active_from AND greatest(now(), k.created_at)
        )
    RETURNING tenant_id, kid, alg, active_from
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        r.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'signing_key_revoked',
        :'reason'::text,
        jsonb_build_object('kid', r.kid)
    FROM revoked AS r
    UNION ALL
    SELECT
        c.tenant_id,
        :'new_audit_id'::uuid,
        :'subject'::text,
        'signing_key_created',
        NULL,
        jsonb_build_object('kid', c.kid, 'alg', c.alg, 'active_from', c.active_from)
    FROM created AS c
)

SELECT
    target.kid,
    c.kid AS successor
FROM target
LEFT JOIN created AS c ON target.tenant_id = c.tenant_id;
