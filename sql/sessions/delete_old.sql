-- sessions/delete_old: forget sessions that ended a week ago, with their refresh tokens.
-- why: their tokens are refused as ended until then, as unknown afterwards.
-- params: tenant_id text, batch int
-- kind: write | returns: count | locks: auth_sessions rows, those in use skipped | scan: tenant
DELETE FROM auth_sessions AS s
USING (
    SELECT o.tenant_id, o.id
    FROM auth_sessions AS o
    WHERE
        o.tenant_id = :'tenant_id'::text
        AND least(o.revoked_at, o.idle_expires_at, o.absolute_expires_at)
        < now() - interval '7 days'
    LIMIT :'batch'::int
    FOR UPDATE SKIP LOCKED
) AS old
WHERE s.tenant_id = old.tenant_id AND s.id = old.id;
