-- payments/explain: why a command gave no row: its key, its payment, its reference, its accounts.
-- why: always one row, read after the statement, so that the refusal names what is true now.
-- params: tenant_id text, scope text, key text, payment_id uuid, reference text?, ledger boolean, stripe integer
-- kind: read | returns: one
SELECT
    k.kind::text AS key_kind, k.operation AS key_operation, k.fingerprint AS key_fingerprint,
    k.fingerprint_version AS key_fingerprint_version, k.status AS key_status,
    k.answer AS key_answer, k.expires_at AS key_expires_at,
    payment_json(p) || jsonb_build_object(
        'overdue', coalesce(p.capture_before <= now(), false), 'unposted', p.unposted
    ) AS payment,
    (
        SELECT c.id
        FROM payment_captures AS c
        WHERE
            c.tenant_id = :'tenant_id'::text AND c.payment_id = p.id
            AND c.reference = :'reference'::text
    ) AS reference_id,
    CASE WHEN :'ledger'::boolean THEN (
        SELECT array_agg(a.code || ' ' || b.status)
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
LEFT JOIN idempotency_keys AS k
    ON
        k.tenant_id = :'tenant_id'::text AND k.scope = :'scope'::text AND k.key = :'key'::text
        AND k.expires_at > now()
LEFT JOIN payments AS p
    ON p.tenant_id = :'tenant_id'::text AND p.id = :'payment_id'::uuid;
