-- replay/check_entries: count the entries, and those that their headers do not explain (L1).
-- why: the whole book in one pass, headers by hash: per account it would look up each header anew.
--   `changed`: the leg is there, with another amount or time. `unexplained`: there is no such leg.
-- params: tenant_id text, as_of text, since text
-- kind: read | returns: one | scan: tenant
SELECT
    count(*) AS entries,
    count(*) FILTER (WHERE NOT j.is_leg) AS unexplained,
    count(*) FILTER (
        WHERE
        j.is_leg
        AND (
            e.posted_at <> t.posted_at OR e.effective_at <> t.effective_at
            OR e.posted
            <> CASE WHEN t.kind IN ('hold', 'void', 'expire') THEN 0 ELSE t.amounts[e.leg] END
            OR e.pending IS DISTINCT FROM CASE
                WHEN t.kind = 'hold' THEN t.amounts[e.leg]
                WHEN t.kind = 'capture' THEN -t.released
                WHEN t.kind IN ('void', 'expire') THEN -t.amounts[e.leg]
                ELSE 0
            END
        )
    ) AS changed
FROM ledger_entries AS e
LEFT JOIN ledger_transactions AS t ON t.tenant_id = :'tenant_id'::text AND e.tx_id = t.id
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            t.status = 'applied'
            AND e.account_id
            = CASE e.side WHEN 1 THEN t.credit_accounts[e.leg] ELSE t.debit_accounts[e.leg] END
            AND e.stripe = coalesce(t.stripes[e.leg][CASE e.side WHEN 1 THEN 2 ELSE 1 END], 0),
            false
        ) AS is_leg
) AS j
WHERE
    e.tenant_id = :'tenant_id'::text AND e.posted_at > :'since'::text::timestamptz
    AND e.posted_at <= :'as_of'::text::timestamptz;
