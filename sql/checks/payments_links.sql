-- checks/payments_links: events lead to payments, and to the captures, refunds, disputes they name.
-- why: the event log is the hottest insert and has no foreign key; this proves what one would.
-- params: none
-- kind: read | returns: many | scan: all
SELECT e.tenant_id, e.payment_id, e.seq, e.type, e.object_id
FROM payment_events AS e
WHERE
    NOT EXISTS (
        SELECT FROM payments AS p WHERE p.tenant_id = e.tenant_id AND p.id = e.payment_id
    )
    OR NOT CASE
        WHEN e.type = 'payment.captured' THEN EXISTS (
            SELECT FROM payment_captures AS c
            WHERE
                c.tenant_id = e.tenant_id AND c.id = e.object_id AND c.payment_id = e.payment_id
                AND c.amount_minor = e.amount_minor
        )
        WHEN e.type = 'payment.refunded' THEN EXISTS (
            SELECT FROM payment_refunds AS r
            WHERE
                r.tenant_id = e.tenant_id AND r.id = e.object_id AND r.payment_id = e.payment_id
                AND r.amount_minor = e.amount_minor
        )
        WHEN e.type LIKE 'payment.dispute\_%' THEN EXISTS (
            SELECT FROM payment_disputes AS d
            WHERE
                d.tenant_id = e.tenant_id AND d.id = e.object_id AND d.payment_id = e.payment_id
                AND d.amount_minor = e.amount_minor
        )
        ELSE e.object_id IS NULL
    END
LIMIT 100;
