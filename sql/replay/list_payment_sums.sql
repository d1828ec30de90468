-- replay/list_payment_sums: accounts that do not hold what the payments say (L5, P32).
-- why: counted from both ends: the amounts of payments, and the entries of their transactions.
--   Foreign postings and payments that wait for ledger-catch-up are left out.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
SELECT
    NULL::bigint AS account_id, d.code, d.currency::text AS currency, NULL::bigint AS stripe,
    NULL::uuid AS tx_id, 'sum of payments' AS field, sum(d.told)::text AS expected,
    sum(d.booked)::text AS found
FROM (
    SELECT p.currency, c.code, c.balance AS told, 0 AS booked
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
    WHERE p.tenant_id = :'tenant_id'::text AND NOT p.unposted
    UNION ALL
    SELECT
        a.currency, a.code, 0 AS told, a.normal_side * e.side * e.posted AS booked
    FROM ledger_transactions AS t
    INNER JOIN ledger_entries AS e ON e.tenant_id = :'tenant_id'::text AND t.id = e.tx_id
    INNER JOIN ledger_accounts AS a
        ON a.tenant_id = :'tenant_id'::text AND e.account_id = a.account_id
    LEFT JOIN payments AS p
        ON
            p.tenant_id = :'tenant_id'::text AND split_part(t.reference, ':', 2) = p.id::text
            AND p.unposted
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
        AND t.reference >= 'payment:' AND t.reference < 'payment;'
        AND p.id IS NULL
) AS d
GROUP BY d.currency, d.code
HAVING sum(d.told) <> sum(d.booked)
ORDER BY d.code, d.currency;
