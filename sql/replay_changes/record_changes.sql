-- replay_changes/record_changes: note what was changed, before and after, with the change itself.
-- why: in the same transaction, so that no change is without its audit row (LR6).
-- params: tenant_id text, run_id uuid, findings jsonb
-- kind: write | returns: count | locks: none: only new rows
INSERT INTO ledger_replay_findings (
    tenant_id, run_id, n, level, account_id, tx_id, field, expected, found, action
)
SELECT
    :'tenant_id'::text, :'run_id'::uuid, f.n, f.level, f.account_id, f.tx_id, f.field, f.expected,
    f.found, f.action
FROM jsonb_to_recordset(:'findings'::jsonb) AS f (
    n integer, level text, account_id bigint, tx_id uuid, field text, expected text, found text,
    action text
);
