-- audit/delete_old: end audit rows older than they must be kept.
-- why: only the schema's owner may; the service's role adds and reads (A53). Attempts on tenants
-- that never were have rows too, so no list of tenants leads to all of them.
-- params: tenant_id text?, days int, batch int
-- kind: write | returns: count | locks: audit_log rows | scan: all | role: owner
DELETE FROM audit_log AS a
USING (
    SELECT o.tenant_id, o.id
    FROM audit_log AS o
    WHERE
        (:'tenant_id'::text IS NULL OR o.tenant_id = :'tenant_id'::text)
        AND o.at < now() - make_interval(days => :'days'::int)
    LIMIT :'batch'::int
) AS old
WHERE a.tenant_id = old.tenant_id AND a.id = old.id;
