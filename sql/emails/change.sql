-- emails/change: a user's address becomes the one that the link proves; all sessions end.
-- why: token, address, epoch, notice to the old address and audit commit together. An address that
-- another user has meanwhile violates users_email_key, which undoes all of it: the link still works
-- if that user goes.
-- params: tenant_id text, user_id uuid, token_hash bytea, email text, email_norm text, mail_id uuid,
--   audit_id uuid, address text?, user_agent text?, request_id text
-- kind: write | returns: count | locks: users row, then one_time_tokens row
WITH target AS (
    SELECT u.tenant_id, u.id, u.session_epoch, u.email
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
        AND o.purpose = 'email_change'
        AND o.token_hash = :'token_hash'::bytea
        AND o.sent_to = :'email'::text
        AND o.epoch = g.session_epoch
        AND o.consumed_at IS NULL
        AND o.expires_at > now()
    RETURNING o.tenant_id, o.user_id, g.email AS old_email
),

changed AS (
    UPDATE users AS u
    SET
        email = :'email'::text,
        email_norm = :'email_norm'::text,
        email_verified_at = now(),
        session_epoch = u.session_epoch + 1,
        version = u.version + 1,
        updated_at = now()
    FROM claimed AS c
    WHERE u.tenant_id = c.tenant_id AND u.id = c.user_id
    RETURNING u.tenant_id, u.id, c.old_email
),

mailed AS (
    INSERT INTO mail_outbox (tenant_id, id, user_id, template, to_address)
    SELECT c.tenant_id, :'mail_id'::uuid, c.id, 'email_changed', c.old_email
    FROM changed AS c
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, ip, user_agent, request_id)
SELECT
    c.tenant_id,
    :'audit_id'::uuid,
    'user:' || c.id::text,
    c.id,
    'email_changed',
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text
FROM changed AS c;
