-- replay_changes/lock_balances: hold balances, so that nobody posts to them meanwhile.
-- why: what is set is compared again under these locks; in the order of every posting (LP2).
-- params: tenant_id text, account_ids bigint[], everything boolean
-- kind: write | returns: many | scan: tenant | locks: ledger_balances by (account_id, stripe)
SELECT b.account_id
FROM ledger_balances AS b
WHERE
    b.tenant_id = :'tenant_id'::text
    AND (:'everything'::boolean OR b.account_id = any(:'account_ids'::bigint[]))
ORDER BY b.account_id, b.stripe
FOR NO KEY UPDATE;
