-- access_tokens/authenticate: what a token whose signature is good is worth now.
-- why: read by each request that brings one, so the end of a session, a changed role and a revoked
-- key count at once (A41). The times are compared here: one clock for all workers. `session_live`
-- is section 1's condition but for the tenant, which has an answer of its own (A3). `checked_at` is
-- taken before the snapshot, so what ended by then is seen to have ended (A42).
-- params: tenant_id text, user_id uuid, session_id uuid, kid text, fresh_s bigint
-- kind: read | returns: 0..1
SELECT
    t.status = 'active' AS tenant_active,
    k.kid IS NOT NULL AS key_live,
    coalesce(
        s.revoked_at IS NULL
        AND now() < s.idle_expires_at
        AND now() < s.absolute_expires_at
        AND s.epoch = u.session_epoch
        AND u.status = 'active', false
    ) AS session_live,
    coalesce(s.auth_time >= now() - make_interval(secs => :'fresh_s'::bigint), false) AS is_fresh,
    u.role,
    now() AS checked_at
FROM tenants AS t
LEFT JOIN signing_keys AS k
    ON
        k.tenant_id = :'tenant_id'::text
        AND k.kid = :'kid'::text
        AND k.revoked_at IS NULL
LEFT JOIN auth_sessions AS s
    ON
        s.tenant_id = :'tenant_id'::text
        AND s.id = :'session_id'::uuid
        AND s.user_id = :'user_id'::uuid
LEFT JOIN users AS u
    ON
        u.tenant_id = :'tenant_id'::text
        AND u.id = s.user_id
WHERE t.tenant_id = :'tenant_id'::text;
