-- payments/explain: why a command gave no row: its payment, its reference, its accounts.
-- why: always one row, read after the statement, so that the refusal names what is true now.
-- params: tenant_id text, payment_id uuid, reference text?, ledger boolean, stripe integer
-- kind: read | returns: one
SELECT
    CASE WHEN p.id IS NOT NULL THEN
        payment_json(p) || jsonb_build_object(
            'overdue', coalesce(p.capture_before <= now(), false), 'unposted', p.unposted
        )
    END AS payment,
    (
        SELECT c.id
        FROM payment_captures AS c
        WHERE
            c.tenant_id = :'tenant_id'::text AND c.payment_id = p.id
            AND c.reference = :'reference'::text
    ) AS reference_id,
    CASE WHEN :'ledger'::boolean THEN (
        SELECT
            jsonb_agg(jsonb_build_object(
                'code', a.code, 'status', b.status, 'ceiling', b.ceiling,
                'raised_minor',
                CASE b.normal_side WHEN 1 THEN b.credits_posted ELSE b.debits_posted END,
                'reachable_minor',
                b.normal_side * (b.credits_posted - b.debits_posted)
                + CASE b.normal_side WHEN 1 THEN b.credits_pending ELSE b.debits_pending END
            ))
        FROM ledger_accounts AS a
        INNER JOIN ledger_balances AS b
            ON
                b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
                AND b.stripe = :'stripe'::integer % a.stripes
        WHERE
            a.tenant_id = :'tenant_id'::text AND a.currency = p.currency
            AND a.code IN (
                'users:' || p.user_id || ':available', 'gateways:' || p.gateway || ':clearing',
                'platform:fees'
            )
    ) END AS accounts
FROM (SELECT 1 AS one) AS always
LEFT JOIN payments AS p
    ON p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid;
