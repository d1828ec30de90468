-- holds/list_by_account: open holds of one account, on either side, the first to expire first.
-- why: an account's holds are found by index, and sorted: they are as many as are open on it.
-- params: tenant_id text, code text, currency text?, expires_before text, after_at text, after_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT
    s.hold_id AS id, dr.code AS debit, cr.code AS credit, dr.currency, s.amount AS amount_minor,
    s.amount - s.remaining AS captured_minor, s.remaining AS remaining_minor,
    CASE WHEN s.expires_at > now() THEN 'open' ELSE 'expired' END AS status, s.expires_at,
    t.reference, t.metadata, t.posted_at, t.actor, t.request_id, true AS is_shown, false AS is_edge
FROM (
    SELECT h.hold_id, h.debit_account, h.credit_account, h.amount, h.remaining, h.expires_at
    FROM ledger_accounts AS a
    CROSS JOIN LATERAL (
        SELECT
            d.hold_id, d.debit_account, d.credit_account, d.amount, d.remaining, d.expires_at
        FROM ledger_holds AS d
        WHERE d.tenant_id = :'tenant_id'::text AND d.debit_account = a.account_id
        UNION ALL
        SELECT
            c.hold_id, c.debit_account, c.credit_account, c.amount, c.remaining, c.expires_at
        FROM ledger_holds AS c
        WHERE c.tenant_id = :'tenant_id'::text AND c.credit_account = a.account_id
    ) AS h
    WHERE
        a.tenant_id = :'tenant_id'::text AND a.code = :'code'::text
        AND a.currency = coalesce(:'currency'::text, a.currency)
        AND h.expires_at < :'expires_before'::text::timestamptz
        AND (h.expires_at, h.hold_id) > (:'after_at'::text::timestamptz, :'after_id'::uuid)
    ORDER BY h.expires_at, h.hold_id
    LIMIT :'row_limit'::bigint
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
ORDER BY s.expires_at, s.hold_id;
