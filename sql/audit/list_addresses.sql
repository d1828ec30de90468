-- audit/list_addresses: from where a user's password was tried in vain within a quarter of an hour.
-- why: an unlock must name the buckets of these addresses. As many as an account lets through in
-- that time, and more.
-- params: tenant_id text, user_id uuid
-- kind: read | returns: many
SELECT DISTINCT host(a.ip) AS ip
FROM audit_log AS a
WHERE
    a.tenant_id = :'tenant_id'::text
    AND a.user_id = :'user_id'::uuid
    AND a.at > now() - interval '15 minutes'
    AND a.outcome <> 'ok'
    AND a.ip IS NOT NULL
LIMIT 1000;
