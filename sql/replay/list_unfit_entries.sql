-- replay/list_unfit_entries: entries of some accounts that their headers do not explain (L1).
-- why: replay/check_entries counts them for the whole book, this names them; for chosen accounts
--   it is the check itself. `expected` is what the header says, None where it has no such leg.
-- params: tenant_id text, first_id bigint, last_id bigint, everything boolean, code_from text, code_to text, currency text?, as_of text, since text
-- kind: read | returns: many
SELECT
    e.account_id, a.code, a.currency::text AS currency, e.stripe, e.tx_id, f.field, f.expected,
    f.found
FROM ledger_entries AS e
LEFT JOIN ledger_accounts AS a
    ON a.tenant_id = :'tenant_id'::text AND e.account_id = a.account_id
LEFT JOIN LATERAL (
    SELECT
        h.posted_at, h.effective_at,
        CASE WHEN h.kind IN ('hold', 'void', 'expire') THEN 0 ELSE h.amounts[e.leg] END AS posted,
        CASE
            WHEN h.kind = 'hold' THEN h.amounts[e.leg]
            WHEN h.kind = 'capture' THEN -h.released
            WHEN h.kind IN ('void', 'expire') THEN -h.amounts[e.leg]
            ELSE 0
        END AS pending
    FROM ledger_transactions AS h
    WHERE
        h.tenant_id = :'tenant_id'::text AND h.id = e.tx_id AND h.status = 'applied'
        AND e.account_id
        = CASE e.side WHEN 1 THEN h.credit_accounts[e.leg] ELSE h.debit_accounts[e.leg] END
        AND e.stripe = coalesce(h.stripes[e.leg][CASE e.side WHEN 1 THEN 2 ELSE 1 END], 0)
    LIMIT 1
) AS t ON true
CROSS JOIN LATERAL (
    VALUES
    (
        'entry', t.posted_at IS NULL, NULL,
        'leg ' || e.leg || CASE e.side WHEN 1 THEN ' credit ' ELSE ' debit ' END || e.posted
    ),
    ('posted', e.posted <> t.posted, t.posted::text, e.posted::text),
    (
        'pending', t.posted_at IS NOT NULL AND e.pending IS DISTINCT FROM t.pending,
        t.pending::text, e.pending::text
    ),
    ('posted_at', e.posted_at <> t.posted_at, t.posted_at::text, e.posted_at::text),
    ('effective_at', e.effective_at <> t.effective_at, t.effective_at::text, e.effective_at::text)
) AS f (field, is_fault, expected, found)
WHERE
    e.tenant_id = :'tenant_id'::text
    AND e.account_id BETWEEN :'first_id'::bigint AND :'last_id'::bigint
    AND e.posted_at > :'since'::text::timestamptz
    AND e.posted_at <= :'as_of'::text::timestamptz
    AND (
        :'everything'::boolean
        OR (
            a.code >= :'code_from'::text AND a.code < :'code_to'::text
            AND a.currency = coalesce(:'currency'::text, a.currency)
        )
    )
    AND f.is_fault;
