-- holds/list_overdue: holds whose time has passed, oldest first.
-- why: they are expired by a posting, which looks at each of them again under its lock.
-- params: tenant_id text, row_limit bigint
-- kind: read | returns: many
SELECT h.hold_id
FROM ledger_holds AS h
WHERE h.tenant_id = :'tenant_id'::text AND h.expires_at <= now()
ORDER BY h.expires_at
LIMIT :'row_limit'::bigint;
