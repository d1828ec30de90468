-- checks/ledger_holds: what is pending on a balance is what its open holds keep.
-- why: money kept by nobody can never be used again, money not kept is promised twice.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    b.tenant_id, b.account_id, b.stripe,
    coalesce(k.debits, 0) AS expected_debits_pending, b.debits_pending,
    coalesce(k.credits, 0) AS expected_credits_pending, b.credits_pending
FROM ledger_balances AS b
LEFT JOIN (
    SELECT
        h.tenant_id, s.account_id, coalesce(s.stripe, 0) AS stripe,
        sum(CASE s.side WHEN -1 THEN h.remaining ELSE 0 END) AS debits,
        sum(CASE s.side WHEN 1 THEN h.remaining ELSE 0 END) AS credits
    FROM ledger_holds AS h
    CROSS JOIN LATERAL (
        VALUES (-1, h.debit_account, h.stripes[1][1]), (1, h.credit_account, h.stripes[1][2])
    ) AS s (side, account_id, stripe)
    GROUP BY h.tenant_id, s.account_id, coalesce(s.stripe, 0)
) AS k ON b.tenant_id = k.tenant_id AND b.account_id = k.account_id AND b.stripe = k.stripe
WHERE
    b.debits_pending <> coalesce(k.debits, 0) OR b.credits_pending <> coalesce(k.credits, 0)
LIMIT 100;
