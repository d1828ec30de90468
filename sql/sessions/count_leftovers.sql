-- sessions/count_leftovers: what a purge would end: sessions, tokens, links, mails, of one tenant.
-- why: a purge that only counts has to look at what the delete_old statements do.
-- params: tenant_id text
-- kind: read | returns: one | scan: tenant
SELECT
    (
        SELECT count(s.id) FROM auth_sessions AS s
        WHERE
            s.tenant_id = :'tenant_id'::text
            AND least(s.revoked_at, s.idle_expires_at, s.absolute_expires_at)
            < now() - interval '7 days'
    ) + (
        SELECT count(r.generation) FROM refresh_tokens AS r
        WHERE r.tenant_id = :'tenant_id'::text AND r.issued_at < now() - interval '7 days'
    ) + (
        SELECT count(o.user_id) FROM one_time_tokens AS o
        WHERE o.tenant_id = :'tenant_id'::text AND o.expires_at < now() - interval '1 day'
    ) + (
        SELECT count(m.id) FROM mail_outbox AS m
        WHERE
            m.tenant_id = :'tenant_id'::text
            AND m.next_attempt_at IS NULL
            AND m.created_at < now() - interval '7 days'
    ) AS found;
