-- payments/explain: why a command gave no row: its payment, its reference, its accounts.
-- why: always one row, read after the statement, so that the refusal names what is true now.
--   kind says whose reference it is: capture, refund or dispute.
-- params: tenant_id text, payment_id uuid, owner_id text?, kind text, reference text?, ledger boolean, stripe integer
-- kind: read | returns: one
SELECT
    CASE WHEN p.id IS NOT NULL THEN
        payment_json(p) || jsonb_build_object(
            'overdue', coalesce(p.capture_before <= now(), false), 'unposted', p.unposted
        )
    END AS payment,
    CASE :'kind'::text
        WHEN 'capture' THEN (
            SELECT c.id
            FROM payment_captures AS c
            WHERE
                c.tenant_id = :'tenant_id'::text AND c.payment_id = p.id
                AND c.reference = :'reference'::text
        )
        WHEN 'refund' THEN (
            SELECT r.id
            FROM payment_refunds AS r
            WHERE
                r.tenant_id = :'tenant_id'::text AND r.payment_id = p.id
                AND r.reference = :'reference'::text
        )
        WHEN 'dispute' THEN (
            SELECT d.id
            FROM payment_disputes AS d
            WHERE
                d.tenant_id = :'tenant_id'::text AND d.payment_id = p.id
                AND d.reference = :'reference'::text
        )
    END AS reference_id,
    CASE WHEN :'ledger'::boolean THEN (
        SELECT
            jsonb_agg(jsonb_build_object(
                'code', a.code, 'normal_side', b.normal_side, 'status', b.status,
                'floor', b.floor, 'ceiling', b.ceiling,
                'debits_posted', b.debits_posted, 'credits_posted', b.credits_posted,
                'debits_pending', b.debits_pending, 'credits_pending', b.credits_pending
            ))
        FROM ledger_accounts AS a
        INNER JOIN ledger_balances AS b
            ON
                b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
                AND b.stripe = :'stripe'::integer % a.stripes
        WHERE
            a.tenant_id = :'tenant_id'::text AND a.currency = p.currency
            AND a.code IN (
                'users:' || p.user_id || ':available', 'users:' || p.user_id || ':disputed',
                'gateways:' || p.gateway || ':clearing', 'platform:fees'
            )
    ) END AS accounts
FROM (SELECT 1 AS one) AS always
LEFT JOIN payments AS p
    ON
        p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid
        AND p.user_id = coalesce(:'owner_id'::text::uuid, p.user_id);
