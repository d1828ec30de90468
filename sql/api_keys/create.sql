-- api_keys/create: a new key of a tenant, known by its hash alone.
-- why: an unknown tenant or an expiry that has passed gives no row; tenants/get says which.
-- params: tenant_id text, key_id text, principal_id uuid, name text, key_hash bytea, scopes text[],
--   allowed_cidrs text[]?, expires_at timestamptz?, audit_id uuid, subject text,
--   address text?, request_id text
-- kind: write | returns: 0..1 | locks: tenants row (key share)
WITH owner AS (
    SELECT t.tenant_id
    FROM tenants AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND (:'expires_at'::timestamptz IS NULL OR :'expires_at'::timestamptz > now())
),

created AS (
    INSERT INTO api_keys (
        tenant_id, id, principal_id, name, key_hash, scopes, allowed_cidrs, created_by, expires_at
    )
    SELECT
        o.tenant_id,
        :'key_id'::text,
        :'principal_id'::uuid,
        :'name'::text,
        :'key_hash'::bytea,
        :'scopes'::text[],
        :'allowed_cidrs'::text[]::cidr[],
        :'subject'::text,
        :'expires_at'::timestamptz
    FROM owner AS o
    RETURNING
        tenant_id, id, principal_id, name, scopes, allowed_cidrs, created_at, expires_at,
        last_used_at, revoked_at
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, ip, request_id, details)
    SELECT
        c.tenant_id,
        :'audit_id'::uuid,
        :'subject'::text,
        'api_key_created',
        :'address'::text::inet,
        nullif(:'request_id'::text, '-'),
        jsonb_build_object('key', c.id, 'principal_id', c.principal_id, 'scopes', c.scopes)
    FROM created AS c
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
