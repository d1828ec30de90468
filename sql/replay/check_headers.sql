-- replay/check_headers: count the headers, the sides of their legs, and what makes no sense in them.
-- why: a leg whose accounts differ in currency makes money (L0). How many sides there are tells
--   whether an entry is missing (L1), without looking for each of them.
-- params: tenant_id text, everything boolean, code_from text, code_to text, currency text?, as_of text, since text
-- kind: read | returns: one | scan: tenant
WITH picked AS (
    SELECT
        a.account_id, a.currency,
        :'everything'::boolean
        OR (
            a.code >= :'code_from'::text AND a.code < :'code_to'::text
            AND a.currency = coalesce(:'currency'::text, a.currency)
        ) AS is_picked
    FROM ledger_accounts AS a
    WHERE a.tenant_id = :'tenant_id'::text
)
SELECT
    count(*) FILTER (WHERE l.leg IS NULL OR l.leg = 1) AS headers,
    coalesce(sum(
        coalesce(dr.is_picked, :'everything'::boolean)::integer
        + coalesce(cr.is_picked, :'everything'::boolean)::integer
    ) FILTER (WHERE l.leg IS NOT NULL), 0)::bigint AS sides,
    count(*) FILTER (
        WHERE l.leg IS NOT NULL AND (dr.currency = cr.currency) IS NOT TRUE
    ) AS mixed
FROM ledger_transactions AS t
LEFT JOIN LATERAL unnest(t.debit_accounts, t.credit_accounts)
WITH ORDINALITY AS l (debit, credit, leg) ON t.status = 'applied'
LEFT JOIN picked AS dr ON l.debit = dr.account_id
LEFT JOIN picked AS cr ON l.credit = cr.account_id
WHERE
    t.tenant_id = :'tenant_id'::text AND t.posted_at > :'since'::text::timestamptz
    AND t.posted_at <= :'as_of'::text::timestamptz;
