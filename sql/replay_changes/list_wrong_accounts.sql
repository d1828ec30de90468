-- replay_changes/list_wrong_accounts: accounts whose balances are not the sums of their entries.
-- why: `--rebuild` computes all of them beside the live ones, and changes only those.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT DISTINCT coalesce(b.account_id, x.account_id) AS account_id
FROM (
    SELECT
        o.account_id, o.stripe, o.debits_posted, o.credits_posted, o.debits_pending,
        o.credits_pending, o.version, o.last_posted_at
    FROM ledger_balances AS o
    WHERE o.tenant_id = :'tenant_id'::text
) AS b
FULL JOIN (
    SELECT
        e.account_id, e.stripe, count(*) AS version, max(e.posted_at) AS last_posted_at,
        coalesce(sum(e.posted) FILTER (WHERE e.side = -1), 0) AS debits_posted,
        coalesce(sum(e.posted) FILTER (WHERE e.side = 1), 0) AS credits_posted,
        coalesce(sum(e.pending) FILTER (WHERE e.side = -1), 0) AS debits_pending,
        coalesce(sum(e.pending) FILTER (WHERE e.side = 1), 0) AS credits_pending
    FROM ledger_entries AS e
    WHERE e.tenant_id = :'tenant_id'::text
    GROUP BY e.account_id, e.stripe
) AS x ON b.account_id = x.account_id AND b.stripe = x.stripe
WHERE
    (
        b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.version,
        b.last_posted_at
    )
    IS DISTINCT FROM (
        coalesce(x.debits_posted, 0), coalesce(x.credits_posted, 0),
        coalesce(x.debits_pending, 0), coalesce(x.credits_pending, 0), coalesce(x.version, 0),
        coalesce(x.last_posted_at, '-infinity')
    )
ORDER BY account_id;
