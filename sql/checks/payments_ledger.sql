-- checks/payments_ledger: per user and over all, the accounts hold what the payments say (P32).
-- why: counted from both ends: the amounts of payments, and the entries of their transactions.
--   Foreign postings and payments that wait for ledger-catch-up are left out.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    d.tenant_id, d.currency, d.code, sum(d.told) AS told_minor, sum(d.booked) AS booked_minor
FROM (
    SELECT p.tenant_id, p.currency, c.code, c.balance AS told, 0 AS booked
    FROM payments AS p
    CROSS JOIN LATERAL (
        VALUES
        (
            'users:' || p.user_id || ':available',
            p.captured_minor - p.fee_minor - p.refunded_minor + p.fee_refunded_minor
            - p.disputed_minor - p.charged_back_minor
        ),
        ('users:' || p.user_id || ':disputed', p.disputed_minor),
        (
            'gateways:' || p.gateway || ':clearing',
            p.captured_minor - p.refunded_minor - p.charged_back_minor
        ),
        ('platform:fees', p.fee_minor - p.fee_refunded_minor)
    ) AS c (code, balance)
    WHERE NOT p.unposted
    UNION ALL
    SELECT
        e.tenant_id, a.currency, a.code, 0 AS told, a.normal_side * e.side * e.posted AS booked
    FROM ledger_transactions AS t
    INNER JOIN ledger_entries AS e ON t.tenant_id = e.tenant_id AND t.id = e.tx_id
    INNER JOIN ledger_accounts AS a ON e.tenant_id = a.tenant_id AND e.account_id = a.account_id
    LEFT JOIN payments AS p
        ON
            t.tenant_id = p.tenant_id AND split_part(t.reference, ':', 2) = p.id::text
            AND p.unposted
    WHERE
        t.status = 'applied' AND t.reference >= 'payment:' AND t.reference < 'payment;'
        AND p.id IS NULL
) AS d
GROUP BY d.tenant_id, d.currency, d.code
HAVING sum(d.told) <> sum(d.booked)
LIMIT 100;
