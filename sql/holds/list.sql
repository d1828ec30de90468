-- holds/list: open holds, the first to expire first, by keyset.
-- why: a page looks at scan_rows holds at most; its last row may be where it stopped, which is not
--   shown.
-- params: tenant_id text, currency text?, expires_before text, after_at text, after_id uuid, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
SELECT
    q.id, q.debit, q.credit, q.currency, q.amount_minor, q.amount_minor - q.remaining_minor
        AS captured_minor, q.remaining_minor, q.status, q.expires_at, q.reference, q.metadata,
    q.posted_at, q.actor, q.request_id, q.is_shown, q.is_edge
FROM (
    SELECT
        s.hold_id AS id, dr.code AS debit, cr.code AS credit, dr.currency, s.amount AS amount_minor,
        s.remaining AS remaining_minor,
        CASE WHEN s.expires_at > now() THEN 'open' ELSE 'expired' END AS status, s.expires_at,
        t.reference, t.metadata, t.posted_at, t.actor, t.request_id,
        dr.currency = coalesce(:'currency'::text, dr.currency) AS is_shown,
        row_number() OVER (ORDER BY s.expires_at, s.hold_id) = :'scan_rows'::bigint AS is_edge
    FROM (
        SELECT
            h.hold_id, h.debit_account, h.credit_account, h.amount, h.remaining, h.expires_at
        FROM ledger_holds AS h
        WHERE
            h.tenant_id = :'tenant_id'::text
            AND h.expires_at < :'expires_before'::text::timestamptz
            AND (h.expires_at, h.hold_id) > (:'after_at'::text::timestamptz, :'after_id'::uuid)
        ORDER BY h.expires_at, h.hold_id
        LIMIT :'scan_rows'::bigint
    ) AS s
    CROSS JOIN LATERAL (
        SELECT a.code, a.currency
        FROM ledger_accounts AS a
        WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = s.debit_account
        LIMIT 1
    ) AS dr
    CROSS JOIN LATERAL (
        SELECT a.code
        FROM ledger_accounts AS a
        WHERE a.tenant_id = :'tenant_id'::text AND a.account_id = s.credit_account
        LIMIT 1
    ) AS cr
    CROSS JOIN LATERAL (
        SELECT x.reference, x.metadata, x.posted_at, x.actor, x.request_id
        FROM ledger_transactions AS x
        WHERE x.tenant_id = :'tenant_id'::text AND x.id = s.hold_id
        LIMIT 1
    ) AS t
) AS q
WHERE q.is_shown OR q.is_edge
ORDER BY q.expires_at, q.id
LIMIT :'row_limit'::bigint;
