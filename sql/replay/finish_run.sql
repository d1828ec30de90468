-- replay/finish_run: note how a check of a book ended, and what it found.
-- why: one statement, so a run has its verdict and its findings, or neither.
-- params: tenant_id text, run_id uuid, accounts bigint, transactions bigint, entries bigint, mismatches bigint, changed bigint, verdict text, exit_code bigint, findings jsonb
-- kind: write | returns: count | locks: the run's row
WITH found AS (
    INSERT INTO ledger_replay_findings (
        tenant_id, run_id, n, level, account_id, tx_id, field, expected, found, action
    )
    SELECT
        :'tenant_id'::text, :'run_id'::uuid, f.n, f.level, f.account_id, f.tx_id, f.field,
        f.expected, f.found, f.action
    FROM jsonb_to_recordset(:'findings'::jsonb) AS f (
        n integer, level text, account_id bigint, tx_id uuid, field text, expected text, found text,
        action text
    )
)
UPDATE ledger_replay_runs AS r
SET
    finished_at = now(), accounts = :'accounts'::bigint, transactions = :'transactions'::bigint,
    entries = :'entries'::bigint, mismatches = :'mismatches'::bigint, changed = :'changed'::bigint,
    verdict = :'verdict'::text,
    exit_code = :'exit_code'::bigint
WHERE r.tenant_id = :'tenant_id'::text AND r.run_id = :'run_id'::uuid;
