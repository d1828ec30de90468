-- replay/list_ranges: cut the accounts into ranges of about as many entries each.
-- why: a range is what one statement checks, so memory does not grow with the book. What a balance
--   says of its entries only decides where to cut; an account counts as 100 entries more.
-- params: tenant_id text, everything boolean, code_from text, code_to text, currency text?, entries_max bigint
-- kind: read | returns: many | scan: tenant
SELECT
    min(r.account_id) AS first_id, max(r.account_id) AS last_id, sum(r.entries)::bigint AS entries
FROM (
    SELECT
        a.account_id, a.entries,
        (sum(a.entries + 100) OVER (ORDER BY a.account_id))::bigint / :'entries_max'::bigint AS n
    FROM (
        SELECT b.account_id, sum(b.version)::bigint AS entries
        FROM ledger_balances AS b
        WHERE
            b.tenant_id = :'tenant_id'::text
            AND (
                :'everything'::boolean
                OR b.account_id IN (
                    SELECT s.account_id
                    FROM ledger_accounts AS s
                    WHERE
                        s.tenant_id = :'tenant_id'::text
                        AND s.code >= :'code_from'::text AND s.code < :'code_to'::text
                        AND s.currency = coalesce(:'currency'::text, s.currency)
                )
            )
        GROUP BY b.account_id
    ) AS a
) AS r
GROUP BY r.n
ORDER BY first_id;
