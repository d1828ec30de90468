-- checks/ledger_limits: no balance is below its floor or above its ceiling (LI5); closed is empty.
-- why: a forced transaction may pass a floor, and then only what does not lower `available` may
-- follow: so below it the last transaction that lowered it was forced.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    b.tenant_id, a.code, b.currency, b.stripe, b.status, b.floor, s.available, b.ceiling, s.reachable
FROM ledger_balances AS b
INNER JOIN ledger_accounts AS a ON b.tenant_id = a.tenant_id AND b.account_id = a.account_id
CROSS JOIN LATERAL (
    SELECT
        b.normal_side * (b.credits_posted - b.debits_posted)
        - CASE b.normal_side WHEN 1 THEN b.debits_pending ELSE b.credits_pending END AS available,
        b.normal_side * (b.credits_posted - b.debits_posted)
        + CASE b.normal_side WHEN 1 THEN b.credits_pending ELSE b.debits_pending END AS reachable
) AS s
WHERE
    s.reachable > b.ceiling
    OR (
        b.status = 'closed'
        AND (b.debits_posted <> b.credits_posted OR b.debits_pending + b.credits_pending > 0)
    )
    OR (
        coalesce(s.available < b.floor, false)
        AND NOT coalesce((
            SELECT t.forced
            FROM ledger_entries AS e
            INNER JOIN ledger_transactions AS t ON e.tenant_id = t.tenant_id AND e.tx_id = t.id
            WHERE
                e.tenant_id = b.tenant_id AND e.account_id = b.account_id AND e.stripe = b.stripe
            GROUP BY e.posted_at, t.id, t.forced
            HAVING
                sum(
                    b.normal_side * e.side * e.posted
                    - CASE e.side WHEN -b.normal_side THEN e.pending ELSE 0 END
                ) < 0
            ORDER BY e.posted_at DESC
            LIMIT 1
        ), false)
    )
LIMIT 100;
