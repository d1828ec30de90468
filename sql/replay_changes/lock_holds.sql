-- replay_changes/lock_holds: hold the rows of open holds, before their balances (LP2).
-- why: whoever resolves one of them waits, and then finds it as it should be.
-- params: tenant_id text, hold_ids uuid[]
-- kind: write | returns: many | locks: ledger_holds by hold_id
SELECT h.debit_account, h.credit_account
FROM ledger_holds AS h
WHERE h.tenant_id = :'tenant_id'::text AND h.hold_id = any(:'hold_ids'::uuid[])
ORDER BY h.hold_id
FOR UPDATE;
