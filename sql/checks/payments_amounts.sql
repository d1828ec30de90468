-- checks/payments_amounts: a payment is as its last event says, and as its captures add up (E1, P8).
-- why: commands decide on the row, clients follow the events: the two must tell the same story.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    p.tenant_id, p.id AS payment_id, p.version, l.seq AS last_seq, p.status, l.status AS last_status,
    p.captured_minor, c.amount_minor AS captures_minor, p.refunded_minor,
    r.amount_minor AS refunds_minor, p.fee_minor, p.disputed_minor, p.charged_back_minor
FROM payments AS p
LEFT JOIN (
    SELECT DISTINCT ON (e.tenant_id, e.payment_id)
        e.tenant_id, e.payment_id, e.seq, a.status, a.end_reason, a.capture_before,
        ARRAY[
            a.authorized_minor, a.captured_minor, a.voided_minor, a.refunded_minor,
            a.disputed_minor, a.charged_back_minor, a.fee_minor, a.fee_refunded_minor
        ] AS amounts
    FROM payment_events AS e
    CROSS JOIN LATERAL jsonb_populate_record(NULL::payments, e.after) AS a
    ORDER BY e.tenant_id, e.payment_id, e.seq DESC
) AS l ON p.tenant_id = l.tenant_id AND p.id = l.payment_id
LEFT JOIN (
    SELECT
        c.tenant_id, c.payment_id, sum(c.amount_minor) AS amount_minor, sum(c.fee_minor) AS fee_minor
    FROM payment_captures AS c
    GROUP BY c.tenant_id, c.payment_id
) AS c ON p.tenant_id = c.tenant_id AND p.id = c.payment_id
LEFT JOIN (
    SELECT
        r.tenant_id, r.payment_id, sum(r.amount_minor) AS amount_minor, sum(r.fee_minor) AS fee_minor
    FROM payment_refunds AS r
    WHERE r.status = 'succeeded'
    GROUP BY r.tenant_id, r.payment_id
) AS r ON p.tenant_id = r.tenant_id AND p.id = r.payment_id
LEFT JOIN (
    SELECT
        d.tenant_id, d.payment_id,
        sum(CASE d.status WHEN 'open' THEN d.amount_minor ELSE 0 END) AS open_minor,
        sum(CASE d.status WHEN 'lost' THEN d.amount_minor ELSE 0 END) AS lost_minor,
        sum(d.fee_minor) AS fee_minor
    FROM payment_disputes AS d
    GROUP BY d.tenant_id, d.payment_id
) AS d ON p.tenant_id = d.tenant_id AND p.id = d.payment_id
WHERE
    (
        p.version = l.seq AND p.status = l.status
        AND p.end_reason IS NOT DISTINCT FROM l.end_reason
        AND p.capture_before IS NOT DISTINCT FROM l.capture_before
        AND l.amounts = ARRAY[
            p.authorized_minor, p.captured_minor, p.voided_minor, p.refunded_minor,
            p.disputed_minor, p.charged_back_minor, p.fee_minor, p.fee_refunded_minor
        ]
        AND p.captured_minor = coalesce(c.amount_minor, 0)
        AND p.refunded_minor = coalesce(r.amount_minor, 0)
        AND p.disputed_minor = coalesce(d.open_minor, 0)
        AND p.charged_back_minor = coalesce(d.lost_minor, 0)
        AND p.fee_minor = coalesce(c.fee_minor, 0) + coalesce(d.fee_minor, 0)
        AND p.fee_refunded_minor = coalesce(r.fee_minor, 0)
    ) IS NOT TRUE
LIMIT 100;
