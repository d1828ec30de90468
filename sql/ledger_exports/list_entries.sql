-- ledger_exports/list_entries: entries as lines of JSON, account by account.
-- why: the order of the key is the order of each statement; nothing is sorted, streamed.
-- params: tenant_id text, posted_gte text, posted_lt text
-- kind: read | returns: many | scan: tenant
SELECT
    json_build_object(
        'account', a.code, 'currency', a.currency, 'stripe', e.stripe, 'version', e.version,
        'posted_at', to_char(e.posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'effective_at', to_char(e.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'tx_id', e.tx_id, 'leg', e.leg, 'side', CASE e.side WHEN 1 THEN 'credit' ELSE 'debit' END,
        'posted_minor', e.posted, 'pending_minor', e.pending, 'balance_after_minor', e.balance_after
    )::text AS line
FROM ledger_entries AS e
INNER JOIN ledger_accounts AS a ON a.tenant_id = :'tenant_id'::text AND e.account_id = a.account_id
WHERE
    e.tenant_id = :'tenant_id'::text AND e.posted_at >= :'posted_gte'::text::timestamptz
    AND e.posted_at < :'posted_lt'::text::timestamptz
ORDER BY e.account_id, e.stripe, e.posted_at, e.version;
