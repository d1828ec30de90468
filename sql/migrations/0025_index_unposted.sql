-- Payments whose events the ledger does not know: few or none, and ledger-catch-up must find them.
-- migrate: no-transaction
CREATE INDEX CONCURRENTLY payments_unposted_idx ON payments (tenant_id, id) WHERE unposted;
