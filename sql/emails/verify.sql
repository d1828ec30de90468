-- emails/verify: an address is proven by its link, once.
-- why: of any number of parallel uses one claims the token's row (A47). Nothing else of the user
-- changes: sessions live on.
-- params: tenant_id text, user_id uuid, token_hash bytea, audit_id uuid, address text?,
--   user_agent text?, request_id text
-- kind: write | returns: count | locks: users row, then one_time_tokens row
WITH target AS (
    SELECT u.tenant_id, u.id, u.session_epoch
    FROM users AS u
    INNER JOIN tenants AS t ON u.tenant_id = t.tenant_id
    WHERE
        u.tenant_id = :'tenant_id'::text
        AND u.id = :'user_id'::uuid
        AND u.status = 'active'
        AND t.status = 'active'
    FOR NO KEY UPDATE OF u
),

claimed AS (
    UPDATE one_time_tokens AS o
    SET consumed_at = now()
    FROM target AS g
    WHERE
        o.tenant_id = g.tenant_id
        AND o.user_id = g.id
        AND o.purpose = 'verify'
        AND o.token_hash = :'token_hash'::bytea
        AND o.epoch = g.session_epoch
        AND o.consumed_at IS NULL
        AND o.expires_at > now()
    RETURNING o.tenant_id, o.user_id
),

verified AS (
    UPDATE users AS u
    SET
        email_verified_at = coalesce(u.email_verified_at, now()),
        version = u.version + 1,
        updated_at = now()
    FROM claimed AS c
    WHERE u.tenant_id = c.tenant_id AND u.id = c.user_id
    RETURNING u.tenant_id, u.id
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, ip, user_agent, request_id)
SELECT
    v.tenant_id,
    :'audit_id'::uuid,
    'user:' || v.id::text,
    v.id,
    'email_verified',
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM verified AS v;
