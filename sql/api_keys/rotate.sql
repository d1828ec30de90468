-- api_keys/rotate: a successor of a live key; the old one ends after the overlap, or as it was to.
-- why: same principal, so a retry with the new key replays the answer of the old one (A11). The
-- successor lives as long as the old key was made to live. No row: api_keys/get says why.
-- params: tenant_id text, key_id text, new_key_id text, new_key_hash bytea, overlap_s bigint,
--   audit_id uuid, subject text, address text?, request_id text
-- kind: write | returns: 0..1 | locks: api_keys row
WITH target AS (
    SELECT
        k.tenant_id,
        k.id,
        k.principal_id,
        k.name,
        k.scopes,
        k.allowed_cidrs,
        k.expires_at - k.created_at AS life
    FROM api_keys AS k
    WHERE
        k.tenant_id = :'tenant_id'::text
        AND k.id = :'key_id'::text
        AND k.revoked_at IS NULL
        AND k.replaced_by IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > now())
    FOR NO KEY UPDATE
),

created AS (
    INSERT INTO api_keys (
        tenant_id, id, principal_id, name, key_hash, scopes, allowed_cidrs, created_by, expires_at
    )
    SELECT
        t.tenant_id,
        :'new_key_id'::text,
        t.principal_id,
        t.name,
        :'new_key_hash'::bytea,
        t.scopes,
        t.allowed_cidrs,
        :'subject'::text,
        now() + t.life
    FROM target AS t
    RETURNING
        tenant_id, id, principal_id, name, scopes, allowed_cidrs, created_at, expires_at,
        last_used_at, revoked_at
),

ended AS (
    UPDATE api_keys AS k
    SET
        replaced_by = c.id,
        expires_at = least(
            k.expires_at, now() + make_interval(secs => :'overlap_s'::bigint)
        )
    FROM created AS c
    WHERE k.tenant_id = :'tenant_id'::text AND k.id = :'key_id'::text
    RETURNING k.tenant_id, k.id, k.principal_id, k.replaced_by, k.expires_at
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, ip, request_id, details)
    SELECT
        e.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'api_key_rotated',
        :'address'::text::inet,
        nullif(:'request_id'::text, '-'),
        jsonb_build_object(
            'key', e.id, 'principal_id', e.principal_id, 'successor', e.replaced_by,
            'ends_at', e.expires_at
        )
    FROM ended AS e
)

SELECT
    c.tenant_id,
    c.id,
    c.principal_id,
    c.name,
    c.scopes,
    c.allowed_cidrs::text[] AS allowed_cidrs,
    c.created_at,
    c.expires_at,
    c.last_used_at,
    c.revoked_at
FROM created AS c;
