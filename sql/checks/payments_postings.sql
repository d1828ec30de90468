-- checks/payments_postings: each event that moves money is one ledger transaction, leg by leg (P30).
-- why: section 5 of the payments page as a table; `missing` below 0 is a posting without its event.
--   Payments marked unposted wait for ledger-catch-up and are left out, and so is what was copied
--   from a legacy store: it is posted as a difference, which checks/payments_ledger proves.
-- params: none
-- kind: read | returns: many | scan: all
WITH steps AS (
    SELECT
        e.tenant_id, e.payment_id, e.seq, e.type, e.amount_minor, p.currency,
        'users:' || p.user_id || ':available' AS available,
        'users:' || p.user_id || ':disputed' AS disputed,
        'gateways:' || p.gateway || ':clearing' AS clearing,
        (e.after ->> 'fee_minor')::bigint
        - coalesce((lag(e.after) OVER s ->> 'fee_minor')::bigint, 0) AS fee,
        (e.after ->> 'fee_refunded_minor')::bigint
        - coalesce((lag(e.after) OVER s ->> 'fee_refunded_minor')::bigint, 0) AS fee_refunded
    FROM payment_events AS e
    INNER JOIN payments AS p ON e.tenant_id = p.tenant_id AND e.payment_id = p.id
    WHERE NOT p.unposted
    WINDOW s AS (PARTITION BY e.tenant_id, e.payment_id ORDER BY e.seq)
)
SELECT d.tenant_id, d.reference, d.debit, d.credit, d.currency, d.amount, sum(d.n) AS missing
FROM (
    SELECT
        s.tenant_id, 'payment:' || s.payment_id || ':' || s.seq AS reference, l.debit, l.credit,
        s.currency, l.amount, 1 AS n
    FROM steps AS s
    CROSS JOIN LATERAL (
        VALUES
        ('payment.captured', s.clearing, 'platform:fees', s.fee),
        ('payment.captured', s.clearing, s.available, s.amount_minor - s.fee),
        ('payment.refunded', 'platform:fees', s.clearing, s.fee_refunded),
        ('payment.refunded', s.available, s.clearing, s.amount_minor - s.fee_refunded),
        ('payment.dispute_opened', s.available, s.disputed, s.amount_minor),
        ('payment.dispute_won', s.disputed, s.available, s.amount_minor),
        ('payment.dispute_lost', s.disputed, s.clearing, s.amount_minor),
        ('payment.dispute_lost', s.available, 'platform:fees', s.fee),
        ('payment.dispute_reversed', s.clearing, s.available, s.amount_minor)
    ) AS l (type, debit, credit, amount)
    WHERE s.type = l.type AND l.amount > 0
    UNION ALL
    SELECT
        t.tenant_id, t.reference, dr.code AS debit, cr.code AS credit, dr.currency, l.amount, -1 AS n
    FROM ledger_transactions AS t
    CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts, t.amounts)
    AS l (debit, credit, amount)
    LEFT JOIN ledger_accounts AS dr ON t.tenant_id = dr.tenant_id AND l.debit = dr.account_id
    LEFT JOIN ledger_accounts AS cr ON t.tenant_id = cr.tenant_id AND l.credit = cr.account_id
    WHERE
        t.status = 'applied' AND t.reference >= 'payment:' AND t.reference < 'payment;'
        AND t.metadata ->> 'source' IS DISTINCT FROM 'legacy'
        AND NOT EXISTS (
            SELECT FROM payments AS p
            WHERE
                p.tenant_id = t.tenant_id AND p.id::text = split_part(t.reference, ':', 2)
                AND p.unposted
        )
) AS d
GROUP BY d.tenant_id, d.reference, d.debit, d.credit, d.currency, d.amount
HAVING sum(d.n) <> 0
LIMIT 100;
