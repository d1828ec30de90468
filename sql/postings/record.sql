-- postings/record: decide and write what was asked for: postings, holds, reversals, batches.
-- why: several legs, batches and refusals depend on data, so a function decides item by item, in
--   one round trip and one commit (ADR 0018; migration 0036 says what a request has).
-- params: tenant_id text, request jsonb
-- kind: write | returns: many | locks: ledger_settings, ledger_holds, ledger_balances by
--   (account_id, stripe), then the key, then ids in ascending order
-- claims: key
SELECT r.n, r.outcome, r.code, r.pointer, r.posted_at, r.facts, r.expires_at
FROM ledger_post(:'tenant_id'::text, :'request'::jsonb) AS r
ORDER BY r.n;
