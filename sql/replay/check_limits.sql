-- replay/check_limits: balances that reserve other than their holds do, or break their limits (L3).
-- why: below a floor the last transaction that lowered `available` must have been forced (LI5).
-- params: tenant_id text, everything boolean, code_from text, code_to text, currency text?
-- kind: read | returns: many | scan: tenant
WITH held AS (
    SELECT
        s.account_id, coalesce(s.stripe, 0) AS stripe,
        sum(CASE s.side WHEN -1 THEN h.remaining ELSE 0 END)::bigint AS debits,
        sum(CASE s.side WHEN 1 THEN h.remaining ELSE 0 END)::bigint AS credits
    FROM ledger_holds AS h
    CROSS JOIN LATERAL (
        VALUES (-1, h.debit_account, h.stripes[1][1]), (1, h.credit_account, h.stripes[1][2])
    ) AS s (side, account_id, stripe)
    WHERE h.tenant_id = :'tenant_id'::text
    GROUP BY s.account_id, coalesce(s.stripe, 0)
),
stripes AS (
    SELECT
        b.account_id, b.stripe, a.code, a.currency, b.normal_side, b.status, b.floor, b.ceiling,
        b.debits_pending, b.credits_pending, coalesce(h.debits, 0) AS debits_held,
        coalesce(h.credits, 0) AS credits_held,
        b.normal_side * (b.credits_posted - b.debits_posted) AS posted,
        CASE b.normal_side WHEN 1 THEN b.debits_pending ELSE b.credits_pending END AS leaving,
        CASE b.normal_side WHEN 1 THEN b.credits_pending ELSE b.debits_pending END AS coming
    FROM ledger_balances AS b
    INNER JOIN ledger_accounts AS a
        ON a.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
    LEFT JOIN held AS h ON b.account_id = h.account_id AND b.stripe = h.stripe
    WHERE
        b.tenant_id = :'tenant_id'::text
        AND (
            :'everything'::boolean
            OR (
                a.code >= :'code_from'::text AND a.code < :'code_to'::text
                AND a.currency = coalesce(:'currency'::text, a.currency)
            )
        )
)
SELECT
    s.account_id, s.code, s.currency::text AS currency, s.stripe, NULL::uuid AS tx_id, f.field,
    f.expected, f.found
FROM stripes AS s
CROSS JOIN LATERAL (
    VALUES
    (
        'debits_pending', s.debits_pending <> s.debits_held, s.debits_held::text,
        s.debits_pending::text
    ),
    (
        'credits_pending', s.credits_pending <> s.credits_held, s.credits_held::text,
        s.credits_pending::text
    ),
    (
        'closed', s.status = 'closed' AND (s.posted <> 0 OR s.leaving + s.coming > 0), 'empty',
        s.posted::text
    ),
    (
        'ceiling', s.posted + s.coming > s.ceiling, 'at most ' || s.ceiling,
        (s.posted + s.coming)::text
    ),
    (
        'floor',
        coalesce(s.posted - s.leaving < s.floor, false)
        AND NOT coalesce((
            SELECT t.forced
            FROM ledger_entries AS e
            INNER JOIN ledger_transactions AS t
                ON t.tenant_id = :'tenant_id'::text AND e.tx_id = t.id
            WHERE
                e.tenant_id = :'tenant_id'::text AND e.account_id = s.account_id
                AND e.stripe = s.stripe
            GROUP BY e.posted_at, t.id, t.forced
            HAVING
                sum(
                    s.normal_side * e.side * e.posted
                    - CASE e.side WHEN -s.normal_side THEN e.pending ELSE 0 END
                ) < 0
            ORDER BY e.posted_at DESC
            LIMIT 1
        ), false),
        'at least ' || s.floor, (s.posted - s.leaving)::text
    )
) AS f (field, is_fault, expected, found)
WHERE f.is_fault
ORDER BY s.account_id, s.stripe;
