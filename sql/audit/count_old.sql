-- audit/count_old: how many audit rows are older than they must be kept.
-- why: what a purge would end, before it does.
-- params: tenant_id text?, days int
-- kind: read | returns: one | scan: all
SELECT count(a.id) AS found
FROM audit_log AS a
WHERE
    (:'tenant_id'::text IS NULL OR a.tenant_id = :'tenant_id'::text)
    AND a.at < now() - make_interval(days => :'days'::int);
