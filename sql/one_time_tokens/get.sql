-- one_time_tokens/get: what a presented link is good for now; no row if it is for nothing.
-- why: asked before a password is hashed or an address is normalised; the statement that uses the
-- link claims it again (A47).
-- params: tenant_id text, user_id uuid, purpose text, token_hash bytea
-- kind: read | returns: 0..1 | present: email, email_norm
SELECT
    o.sent_to,
    u.email,
    u.email_norm,
    u.role,
    coalesce(u.password_hash, u.legacy_password_hash) AS stored_hash
FROM one_time_tokens AS o
INNER JOIN users AS u ON o.tenant_id = u.tenant_id AND o.user_id = u.id
INNER JOIN tenants AS t ON o.tenant_id = t.tenant_id
WHERE
    o.tenant_id = :'tenant_id'::text
    AND o.user_id = :'user_id'::uuid
    AND o.purpose = :'purpose'::text
    AND o.token_hash = :'token_hash'::bytea
    AND o.consumed_at IS NULL
    AND o.expires_at > now()
    AND o.epoch = u.session_epoch
    AND u.status = 'active'
    AND t.status = 'active';
