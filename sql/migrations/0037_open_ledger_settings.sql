-- migrate: allow data "one short row per tenant, of which there are few"
-- Every tenant has its row of ledger settings: a backdated posting holds it until its commit, so
-- that a closing cannot pass it by. New tenants get theirs with themselves.
INSERT INTO ledger_settings (tenant_id, updated_by)
SELECT t.tenant_id, 'migration'
FROM tenants AS t
ON CONFLICT (tenant_id) DO NOTHING;
