-- api_keys/revoke: end a key; gives the key as it is now, no row if the tenant has none such.
-- why: a revoked key keeps its first revocation, so asking twice is harmless and audited once.
-- params: tenant_id text, key_id text, reason text?, audit_id uuid, subject text,
--   address text?, request_id text
-- kind: write | returns: 0..1 | locks: api_keys row
WITH target AS (
    SELECT
        k.tenant_id,
        k.id,
        k.principal_id,
        k.name,
        k.scopes,
        k.allowed_cidrs,
        k.created_at,
        k.expires_at,
        k.last_used_at,
        k.revoked_at
    FROM api_keys AS k
    WHERE k.tenant_id = :'tenant_id'::text AND k.id = :'key_id'::text
    FOR NO KEY UPDATE
),

revoked AS (
    UPDATE api_keys AS k
    SET
        revoked_at = now(),
        revoked_by = :'subject'::text,
        revoked_reason = :'reason'::text
    FROM target
    WHERE
        k.tenant_id = target.tenant_id
        AND k.id = target.id
        AND target.revoked_at IS NULL
    RETURNING k.tenant_id, k.id, k.principal_id, k.revoked_at, k.revoked_reason
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, ip, request_id, details)
    SELECT
        r.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'api_key_revoked',
        r.revoked_reason,
        :'address'::text::inet,
        nullif(:'request_id'::text, '-'),
        jsonb_build_object('key', r.id, 'principal_id', r.principal_id)
    FROM revoked AS r
)

SELECT
    target.tenant_id,
    target.id,
    target.principal_id,
    target.name,
    target.scopes,
    target.allowed_cidrs::text[] AS allowed_cidrs,
    target.created_at,
    target.expires_at,
    target.last_used_at,
    coalesce(r.revoked_at, target.revoked_at) AS revoked_at
FROM target
LEFT JOIN revoked AS r ON target.id = r.id AND target.tenant_id = r.tenant_id;
