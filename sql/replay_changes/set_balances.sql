-- replay_changes/set_balances: set balances to the sums of their entries, where they differ.
-- why: under their locks nothing can be posted, so entries and balance are of one moment (LR3).
--   What each row was and what it is now goes into the audit.
-- params: tenant_id text, account_ids bigint[]
-- kind: write | returns: many | locks: ledger_balances rows, held already
WITH added AS (
    SELECT
        e.account_id, e.stripe, count(*) AS version, max(e.posted_at) AS last_posted_at,
        coalesce(sum(e.posted) FILTER (WHERE e.side = -1), 0)::bigint AS debits_posted,
        coalesce(sum(e.posted) FILTER (WHERE e.side = 1), 0)::bigint AS credits_posted,
        coalesce(sum(e.pending) FILTER (WHERE e.side = -1), 0)::bigint AS debits_pending,
        coalesce(sum(e.pending) FILTER (WHERE e.side = 1), 0)::bigint AS credits_pending
    FROM ledger_entries AS e
    WHERE e.tenant_id = :'tenant_id'::text AND e.account_id = any(:'account_ids'::bigint[])
    GROUP BY e.account_id, e.stripe
),
wrong AS (
    SELECT
        b.account_id, b.stripe, coalesce(x.version, 0) AS version,
        coalesce(x.last_posted_at, '-infinity') AS last_posted_at,
        coalesce(x.debits_posted, 0) AS debits_posted,
        coalesce(x.credits_posted, 0) AS credits_posted,
        coalesce(x.debits_pending, 0) AS debits_pending,
        coalesce(x.credits_pending, 0) AS credits_pending,
        concat_ws(
            ' ', b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.version,
            b.last_posted_at
        ) AS found
    FROM ledger_balances AS b
    LEFT JOIN added AS x ON b.account_id = x.account_id AND b.stripe = x.stripe
    WHERE b.tenant_id = :'tenant_id'::text AND b.account_id = any(:'account_ids'::bigint[])
)
UPDATE ledger_balances AS b
SET
    debits_posted = w.debits_posted, credits_posted = w.credits_posted,
    debits_pending = w.debits_pending, credits_pending = w.credits_pending, version = w.version,
    last_posted_at = w.last_posted_at
FROM wrong AS w
INNER JOIN ledger_accounts AS a ON a.tenant_id = :'tenant_id'::text AND w.account_id = a.account_id
WHERE
    b.tenant_id = :'tenant_id'::text AND b.account_id = w.account_id AND b.stripe = w.stripe
    AND (
        b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.version,
        b.last_posted_at
    )
    <> (
        w.debits_posted, w.credits_posted, w.debits_pending, w.credits_pending, w.version,
        w.last_posted_at
    )
RETURNING
    b.account_id, a.code, a.currency::text AS currency, b.stripe::bigint AS stripe,
    NULL::uuid AS tx_id, 'balance' AS field,
    concat_ws(
        ' ', w.debits_posted, w.credits_posted, w.debits_pending, w.credits_pending, w.version,
        w.last_posted_at
    ) AS expected, w.found;
