-- replay/list_wrong_holds: open holds that are not as their transactions say, or are not there (L3).
-- why: a hold's row follows from its transaction and from those that resolve it, like a balance from
--   its entries. A transaction of a release that stored no expires_at says nothing of that.
-- params: tenant_id text, everything boolean, code_from text, code_to text, currency text?
-- kind: read | returns: many | scan: tenant
WITH resolved AS (
    SELECT
        t.hold_id, sum(coalesce(t.released, t.amounts[1]))::bigint AS released,
        bool_or(t.final) AS is_over
    FROM ledger_transactions AS t
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.status = 'applied'
        AND t.kind IN ('capture', 'void', 'expire')
    GROUP BY t.hold_id
),
opened AS (
    SELECT
        t.hold_id, t.debit_accounts[1] AS debit_account,
        t.credit_accounts[1] AS credit_account, t.stripes, t.amounts[1] AS amount, t.expires_at,
        t.amounts[1] - coalesce(r.released, 0) AS remaining
    FROM ledger_transactions AS t
    LEFT JOIN resolved AS r ON t.hold_id = r.hold_id
    WHERE
        t.tenant_id = :'tenant_id'::text AND t.status = 'applied' AND t.kind = 'hold'
        AND r.is_over IS NOT TRUE
),
compared AS (
    SELECT
        coalesce(o.hold_id, h.hold_id) AS hold_id,
        coalesce(o.debit_account, h.debit_account) AS account_id,
        coalesce(o.credit_account, h.credit_account) AS other_id,
        o.hold_id IS NULL AS is_extra, h.hold_id IS NULL AS is_missing,
        o.remaining AS remaining_then, h.remaining AS remaining_now,
        concat_ws(' ', o.debit_account, o.credit_account, o.amount, o.stripes) AS rest_then,
        concat_ws(' ', h.debit_account, h.credit_account, h.amount, h.stripes) AS rest_now,
        coalesce(o.expires_at, h.expires_at) AS expires_then, h.expires_at AS expires_now
    FROM opened AS o
    FULL JOIN (
        SELECT
            x.hold_id, x.debit_account, x.credit_account, x.stripes, x.amount, x.remaining,
            x.expires_at
        FROM ledger_holds AS x
        WHERE x.tenant_id = :'tenant_id'::text
    ) AS h ON o.hold_id = h.hold_id
)
SELECT
    c.account_id, a.code, a.currency::text AS currency, NULL::bigint AS stripe,
    c.hold_id AS tx_id, f.field, f.expected, f.found
FROM compared AS c
CROSS JOIN LATERAL (
    VALUES
    ('hold', c.is_extra, NULL, 'open with ' || c.remaining_now),
    ('hold', c.is_missing, 'open with ' || c.remaining_then, NULL),
    (
        'hold remaining', c.remaining_then <> c.remaining_now, c.remaining_then::text,
        c.remaining_now::text
    ),
    (
        'hold amount', NOT c.is_extra AND NOT c.is_missing AND c.rest_then <> c.rest_now,
        c.rest_then, c.rest_now
    ),
    (
        'hold expires_at', NOT c.is_extra AND c.expires_then <> c.expires_now,
        c.expires_then::text, c.expires_now::text
    )
) AS f (field, is_fault, expected, found)
LEFT JOIN ledger_accounts AS a ON a.tenant_id = :'tenant_id'::text AND c.account_id = a.account_id
WHERE
    f.is_fault
    AND (
        :'everything'::boolean
        OR EXISTS (
            SELECT FROM ledger_accounts AS s
            WHERE
                s.tenant_id = :'tenant_id'::text AND s.account_id IN (c.account_id, c.other_id)
                AND s.code >= :'code_from'::text AND s.code < :'code_to'::text
                AND s.currency = coalesce(:'currency'::text, s.currency)
        )
    )
ORDER BY c.hold_id;
