-- replay/list_payment_faults: steps of payments that are not posted leg by leg (L5, P30).
-- why: section 5 of the payments page as a table. What is expected and not found was not posted;
--   what is found and not expected is a posting without its event.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant
WITH steps AS (
    SELECT
        e.payment_id, e.seq, e.type, e.amount_minor, p.currency,
        'users:' || p.user_id || ':available' AS available,
        'users:' || p.user_id || ':disputed' AS disputed,
        'gateways:' || p.gateway || ':clearing' AS clearing,
        (e.after ->> 'fee_minor')::bigint
        - coalesce((lag(e.after) OVER s ->> 'fee_minor')::bigint, 0) AS fee,
        (e.after ->> 'fee_refunded_minor')::bigint
        - coalesce((lag(e.after) OVER s ->> 'fee_refunded_minor')::bigint, 0) AS fee_refunded
    FROM payment_events AS e
    INNER JOIN payments AS p ON p.tenant_id = :'tenant_id'::text AND e.payment_id = p.id
    WHERE e.tenant_id = :'tenant_id'::text AND NOT p.unposted
    WINDOW s AS (PARTITION BY e.payment_id ORDER BY e.seq)
)
SELECT
    NULL::bigint AS account_id, NULL::text AS code, d.currency::text AS currency,
    NULL::bigint AS stripe, (array_agg(d.tx_id))[1] AS tx_id,
    d.reference || ' ' || d.debit || ' to ' || d.credit AS field,
    CASE WHEN sum(d.n) > 0 THEN d.amount::text END AS expected,
    CASE WHEN sum(d.n) < 0 THEN d.amount::text END AS found
FROM (
    SELECT
        'payment:' || s.payment_id || ':' || s.seq AS reference, l.debit, l.credit,
        s.currency, l.amount, 1 AS n, NULL::uuid AS tx_id
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
        t.reference, dr.code AS debit, cr.code AS credit, dr.currency, l.amount, -1 AS n,
        t.id AS tx_id
    FROM ledger_transactions AS t
    CROSS JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts, t.amounts)
    AS l (debit, credit, amount)
    LEFT JOIN ledger_accounts AS dr
        ON dr.tenant_id = :'tenant_id'::text AND l.debit = dr.account_id
    LEFT JOIN ledger_accounts AS cr
        ON cr.tenant_id = :'tenant_id'::text AND l.credit = cr.account_id
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
        AND t.reference >= 'payment:' AND t.reference < 'payment;'
        AND NOT EXISTS (
            SELECT FROM payments AS p
            WHERE
                p.tenant_id = :'tenant_id'::text AND p.id::text = split_part(t.reference, ':', 2)
                AND p.unposted
        )
) AS d
GROUP BY d.reference, d.debit, d.credit, d.currency, d.amount
HAVING sum(d.n) <> 0
ORDER BY d.reference, d.debit, d.credit;
