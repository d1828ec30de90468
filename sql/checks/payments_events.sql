-- checks/payments_events: events are dense, and each neighbouring pair is a legal command (E1).
-- why: section 3 of the payments page as a table: by how many times its amount an event changes
--   each of the amounts. NULL: by its own rule below. A type without a row is illegal.
--   What a lost dispute costs is the bank's to say, so it may be more than the dispute itself.
-- params: none
-- kind: read | returns: many | scan: all
WITH commands (
    type, authorized, captured, voided, refunded, disputed, charged_back, takes_fee, returns_fee
) AS (
    VALUES
    ('payment.created', 0, 0, 0, 0, 0, 0, false, false),
    ('payment.authorized', 1, 0, 0, 0, 0, 0, false, false),
    ('payment.captured', NULL, 1, NULL, 0, 0, 0, true, false),
    ('payment.voided', 0, 0, 1, 0, 0, 0, false, false),
    ('payment.expired', 0, 0, 1, 0, 0, 0, false, false),
    ('payment.cancelled', 0, 0, 0, 0, 0, 0, false, false),
    ('payment.failed', 0, 0, 0, 0, 0, 0, false, false),
    ('payment.refunded', 0, 0, 0, 1, 0, 0, false, true),
    ('payment.dispute_opened', 0, 0, 0, 0, 1, 0, false, false),
    ('payment.dispute_won', 0, 0, 0, 0, -1, 0, false, false),
    ('payment.dispute_lost', 0, 0, 0, 0, -1, 1, true, false),
    ('payment.dispute_reversed', 0, 0, 0, 0, 0, -1, false, false),
    ('payment.authorization_expiring', 0, 0, 0, 0, 0, 0, false, false),
    ('payment.updated', 0, 0, 0, 0, 0, 0, false, false)
),
steps AS (
    SELECT
        e.tenant_id, e.payment_id, e.seq, e.type, e.status_from, e.status_to,
        coalesce(e.amount_minor, 0) AS amount, lag(e.seq) OVER s AS previous_seq,
        jsonb_populate_record(NULL::payments, e.after) AS a,
        jsonb_populate_record(NULL::payments, lag(e.after) OVER s) AS b
    FROM payment_events AS e
    WINDOW s AS (PARTITION BY e.tenant_id, e.payment_id ORDER BY e.seq)
),
moves AS (
    SELECT
        s.tenant_id, s.payment_id, s.seq, s.previous_seq, s.type, s.status_from, s.status_to,
        s.amount, (s.b).status AS status_before, (s.a).status AS status_after,
        (s.b).authorized_minor - (s.b).captured_minor - (s.b).voided_minor AS capturable,
        (s.a).authorized_minor - coalesce((s.b).authorized_minor, 0) AS authorized,
        (s.a).captured_minor - coalesce((s.b).captured_minor, 0) AS captured,
        (s.a).voided_minor - coalesce((s.b).voided_minor, 0) AS voided,
        (s.a).refunded_minor - coalesce((s.b).refunded_minor, 0) AS refunded,
        (s.a).disputed_minor - coalesce((s.b).disputed_minor, 0) AS disputed,
        (s.a).charged_back_minor - coalesce((s.b).charged_back_minor, 0) AS charged_back,
        (s.a).fee_minor - coalesce((s.b).fee_minor, 0) AS fee,
        (s.a).fee_refunded_minor - coalesce((s.b).fee_refunded_minor, 0) AS fee_refunded,
        payment_status_of(
            (s.a).authorized_minor, (s.a).captured_minor, (s.a).voided_minor,
            (s.a).refunded_minor, (s.a).disputed_minor, (s.a).charged_back_minor, (s.a).end_reason
        ) AS status_by_amounts
    FROM steps AS s
)
SELECT
    m.tenant_id, m.payment_id, m.seq, m.previous_seq, m.type, m.status_from, m.status_to, m.amount
FROM moves AS m
LEFT JOIN commands AS c ON m.type = c.type
WHERE
    m.type <> 'payment.mirrored'
    AND (
        m.seq = coalesce(m.previous_seq, 0) + 1
        AND (m.seq = 1) = (m.type = 'payment.created')
        AND m.status_from IS NOT DISTINCT FROM m.status_before
        AND m.status_to = m.status_after
        AND m.status_after = m.status_by_amounts
        AND m.authorized = coalesce(c.authorized * m.amount, m.authorized)
        AND m.captured = c.captured * m.amount
        AND m.voided = coalesce(c.voided * m.amount, m.voided)
        AND m.refunded = c.refunded * m.amount
        AND m.disputed = c.disputed * m.amount
        AND m.charged_back = c.charged_back * m.amount
        AND m.fee BETWEEN 0 AND CASE
            WHEN m.type = 'payment.dispute_lost' THEN 999999999999999
            WHEN c.takes_fee THEN m.amount
            ELSE 0
        END
        AND m.fee_refunded BETWEEN 0 AND CASE WHEN c.returns_fee THEN m.amount ELSE 0 END
        AND CASE
            WHEN m.type IN ('payment.authorized', 'payment.cancelled', 'payment.failed')
                THEN m.status_before = 'created'
            -- A created payment is authorised on the way; what a last capture leaves is voided.
            WHEN m.type = 'payment.captured'
                THEN
                    m.authorized >= CASE m.status_before WHEN 'created' THEN m.amount ELSE 0 END
                    AND (m.authorized = 0 OR m.status_before = 'created')
                    AND m.voided IN (0, m.capturable + m.authorized - m.captured)
            WHEN m.type IN ('payment.voided', 'payment.expired')
                THEN m.voided = m.capturable AND m.capturable > 0
            WHEN m.type = 'payment.authorization_expiring' THEN m.amount = m.capturable
            ELSE true
        END
    ) IS NOT TRUE
LIMIT 100;
