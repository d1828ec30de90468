-- seals/open_state: make a tenant's row of what is sealed, if there is none.
-- why: two workers may begin with a tenant at once; the row is what they share the work by.
-- params: tenant_id text
-- kind: write | returns: count | locks: none: only a new row
INSERT INTO ledger_seal_state (tenant_id)
VALUES (:'tenant_id'::text)
ON CONFLICT (tenant_id) DO NOTHING;
