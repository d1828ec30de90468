-- checks/ledger_balances: each balance is the sum of its entries: four counters, version (LI3).
-- why: postings decide on balances, so a wrong one lets money through that is not there.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    coalesce(b.tenant_id, x.tenant_id) AS tenant_id, a.code,
    coalesce(b.account_id, x.account_id) AS account_id, coalesce(b.stripe, x.stripe) AS stripe,
    ARRAY[x.debits, x.credits, x.debits_pending, x.credits_pending, x.version] AS expected,
    ARRAY[
        b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.version
    ] AS found,
    x.last_posted_at AS expected_last_posted_at, b.last_posted_at
FROM ledger_balances AS b
FULL JOIN (
    SELECT
        e.tenant_id, e.account_id, e.stripe, count(*) AS version,
        sum(CASE e.side WHEN -1 THEN e.posted ELSE 0 END) AS debits,
        sum(CASE e.side WHEN 1 THEN e.posted ELSE 0 END) AS credits,
        sum(CASE e.side WHEN -1 THEN e.pending ELSE 0 END) AS debits_pending,
        sum(CASE e.side WHEN 1 THEN e.pending ELSE 0 END) AS credits_pending,
        max(e.posted_at) AS last_posted_at
    FROM ledger_entries AS e
    GROUP BY e.tenant_id, e.account_id, e.stripe
) AS x ON b.tenant_id = x.tenant_id AND b.account_id = x.account_id AND b.stripe = x.stripe
LEFT JOIN ledger_accounts AS a ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
WHERE
    b.account_id IS NULL
    OR b.debits_posted <> coalesce(x.debits, 0)
    OR b.credits_posted <> coalesce(x.credits, 0)
    OR b.debits_pending <> coalesce(x.debits_pending, 0)
    OR b.credits_pending <> coalesce(x.credits_pending, 0)
    OR b.version <> coalesce(x.version, 0)
    OR b.last_posted_at <> coalesce(x.last_posted_at, '-infinity')
LIMIT 100;
