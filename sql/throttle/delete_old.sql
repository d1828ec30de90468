-- throttle/delete_old: forget windows that have passed, of every bucket.
-- why: the longest window is a day; what is older blocks nobody and would count from anew. Attempts
-- on tenants that never were have windows too, so no list of tenants leads to all of them.
-- params: tenant_id text?, batch int
-- kind: write | returns: count | locks: login_throttle rows, those in use skipped | scan: all
DELETE FROM login_throttle AS t
USING (
    SELECT o.tenant_id, o.bucket, o.key
    FROM login_throttle AS o
    WHERE
        (:'tenant_id'::text IS NULL OR o.tenant_id = :'tenant_id'::text)
        AND o.window_start < now() - interval '25 hours'
        AND (o.blocked_until IS NULL OR o.blocked_until < now())
    LIMIT :'batch'::int
    FOR UPDATE SKIP LOCKED
) AS old
WHERE t.tenant_id = old.tenant_id AND t.bucket = old.bucket AND t.key = old.key;
