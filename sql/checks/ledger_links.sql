-- checks/ledger_links: headers, holds, entries and stripes lead to accounts, entries to headers.
-- why: the hottest inserts of all have no foreign keys; this proves what those would enforce.
-- params: none
-- kind: read | returns: many | scan: all
SELECT l.link, l.tenant_id, l.account_id, l.tx_id
FROM (
    SELECT
        'entry without its balance' AS link, e.tenant_id, e.account_id, e.tx_id
    FROM ledger_entries AS e
    LEFT JOIN ledger_balances AS b
        ON e.tenant_id = b.tenant_id AND e.account_id = b.account_id AND e.stripe = b.stripe
    WHERE b.account_id IS NULL
    UNION ALL
    SELECT 'entry without its header' AS link, e.tenant_id, e.account_id, e.tx_id
    FROM ledger_entries AS e
    LEFT JOIN ledger_transactions AS t ON e.tenant_id = t.tenant_id AND e.tx_id = t.id
    WHERE t.id IS NULL
    UNION ALL
    SELECT 'header without its account' AS link, t.tenant_id, n.account_id, t.id AS tx_id
    FROM ledger_transactions AS t
    CROSS JOIN LATERAL unnest(t.debit_accounts || t.credit_accounts) AS n (account_id)
    LEFT JOIN ledger_accounts AS a ON t.tenant_id = a.tenant_id AND n.account_id = a.account_id
    WHERE a.account_id IS NULL
    UNION ALL
    SELECT 'hold without its transaction' AS link, h.tenant_id, h.debit_account, h.hold_id
    FROM ledger_holds AS h
    LEFT JOIN ledger_transactions AS t
        ON h.tenant_id = t.tenant_id AND h.hold_id = t.hold_id AND t.kind = 'hold'
    WHERE t.id IS NULL
    UNION ALL
    SELECT 'account whose balances are not its stripes' AS link, a.tenant_id, a.account_id, NULL
    FROM ledger_accounts AS a
    LEFT JOIN ledger_balances AS b ON a.tenant_id = b.tenant_id AND a.account_id = b.account_id
    GROUP BY a.tenant_id, a.account_id
    HAVING
        count(b.stripe) <> a.stripes OR max(b.stripe) <> a.stripes - 1
        OR bool_or(b.currency <> a.currency OR b.normal_side <> a.normal_side)
) AS l
LIMIT 100;
