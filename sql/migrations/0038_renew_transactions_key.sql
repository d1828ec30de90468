-- Of indexes that cost the same the newest is taken (ADR 0017). On an empty book the one by time
-- did, and a plan that finds a transaction by its id read all ids of the tenant until the first
-- ANALYZE. Rebuilt, the primary key is the newest.
-- migrate: no-transaction
REINDEX INDEX CONCURRENTLY ledger_transactions_pkey;
