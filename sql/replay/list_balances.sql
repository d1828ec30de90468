-- replay/list_balances: accounts at a moment of the past, added up from their first entry on.
-- why: `replay-ledger --as-of` tells what was there without believing any stored balance.
-- params: tenant_id text, everything boolean, code_from text, code_to text, currency text?, as_of text, row_limit bigint
-- kind: read | returns: many | scan: tenant
SELECT
    a.code, a.currency::text AS currency, (a.normal_side * s.posted)::text AS posted,
    s.pending_debits::text AS pending_debits, s.pending_credits::text AS pending_credits,
    s.version
FROM (
    SELECT c.account_id, c.code, c.currency, c.normal_side
    FROM ledger_accounts AS c
    WHERE
        c.tenant_id = :'tenant_id'::text
        AND (
            :'everything'::boolean
            OR (
                c.code >= :'code_from'::text AND c.code < :'code_to'::text
                AND c.currency = coalesce(:'currency'::text, c.currency)
            )
        )
    ORDER BY c.code, c.currency
    LIMIT :'row_limit'::bigint
) AS a
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(e.side * e.posted), 0) AS posted,
        coalesce(sum(e.pending) FILTER (WHERE e.side = -1), 0) AS pending_debits,
        coalesce(sum(e.pending) FILTER (WHERE e.side = 1), 0) AS pending_credits,
        count(*) AS version
    FROM ledger_entries AS e
    WHERE
        e.tenant_id = :'tenant_id'::text AND e.account_id = a.account_id
        AND e.posted_at <= :'as_of'::text::timestamptz
) AS s
ORDER BY a.code, a.currency;
