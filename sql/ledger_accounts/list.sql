-- ledger_accounts/list: accounts by code and currency, by keyset, with their balances.
-- why: a prefix is a range of the unique key. A page looks at scan_rows accounts at most; its last
--   row may be where it stopped, which is not shown. after_* is the only lower end: of two, the
--   index would be read from the wrong one.
-- params: tenant_id text, code_to text, currency text?, status text?, owner_id text?, metadata text, after_code text, after_currency text, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
SELECT
    q.code, q.currency, q.name, q.normal_side, q.status, q.floor AS floor_minor,
    q.ceiling AS ceiling_minor, q.stripes, q.owner_user_id, q.metadata, q.version, q.created_at,
    q.updated_at, q.posted AS posted_minor,
    q.posted - CASE q.normal_side WHEN 1 THEN q.debits_pending ELSE q.credits_pending END
        AS available_minor,
    q.posted + CASE q.normal_side WHEN 1 THEN q.credits_pending ELSE q.debits_pending END
        AS reachable_minor,
    q.entries, q.is_shown, q.is_edge
FROM (
    SELECT
        a.code, a.currency, a.name, a.normal_side, a.stripes, a.owner_user_id, a.metadata,
        a.version, a.created_at, a.updated_at, s.status, s.floor, s.ceiling, s.posted,
        s.debits_pending, s.credits_pending, s.entries,
        a.currency = coalesce(:'currency'::text, a.currency)
        AND s.status = coalesce(:'status'::text, s.status)
        AND (:'owner_id'::text IS NULL OR a.owner_user_id IS NOT DISTINCT FROM :'owner_id'::text::uuid)
        AND a.metadata @> :'metadata'::text::jsonb AS is_shown,
        row_number() OVER (ORDER BY a.code, a.currency) = :'scan_rows'::bigint AS is_edge
    FROM (
        SELECT
            c.account_id, c.code, c.currency, c.name, c.normal_side, c.stripes, c.owner_user_id,
            c.metadata, c.version, c.created_at, c.updated_at
        FROM ledger_accounts AS c
        WHERE
            c.tenant_id = :'tenant_id'::text
            AND (c.code, c.currency) > (:'after_code'::text, :'after_currency'::text::char(3))
            AND c.code < :'code_to'::text
        ORDER BY c.code, c.currency
        LIMIT :'scan_rows'::bigint
    ) AS a
    CROSS JOIN LATERAL (
        SELECT
            (a.normal_side * sum(b.credits_posted - b.debits_posted))::bigint AS posted,
            sum(b.debits_pending)::bigint AS debits_pending,
            sum(b.credits_pending)::bigint AS credits_pending, sum(b.version)::bigint AS entries,
            sum(b.floor)::bigint AS floor, max(b.ceiling) AS ceiling, min(b.status)::text AS status
        FROM ledger_balances AS b
        WHERE b.tenant_id = :'tenant_id'::text AND b.account_id = a.account_id
    ) AS s
) AS q
WHERE q.is_shown OR q.is_edge
ORDER BY q.code, q.currency
LIMIT :'row_limit'::bigint;
