-- one_time_tokens/delete_old: forget links that expired a day ago.
-- why: a link that was asked for and never used tells who never proved an address; it stays as long
-- as that user may (emails/delete_unverified).
-- params: tenant_id text, batch int
-- kind: write | returns: count | locks: one_time_tokens rows, those in use skipped | scan: tenant
DELETE FROM one_time_tokens AS o
USING (
    SELECT x.tenant_id, x.user_id, x.purpose
    FROM one_time_tokens AS x
    INNER JOIN users AS u ON x.tenant_id = u.tenant_id AND x.user_id = u.id
    WHERE
        x.tenant_id = :'tenant_id'::text
        AND x.expires_at < now() - interval '1 day'
        AND (x.purpose <> 'verify' OR u.email_verified_at IS NOT NULL OR u.status <> 'active')
    LIMIT :'batch'::int
    FOR UPDATE OF x SKIP LOCKED
) AS old
WHERE
    o.tenant_id = old.tenant_id
    AND o.user_id = old.user_id
    AND o.purpose = old.purpose;
