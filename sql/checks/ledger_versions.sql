-- checks/ledger_versions: per stripe versions are dense, times grow, balances add up (LI4).
-- why: statements read entries in key order, which is posting order only if all of this holds.
--   Within a transaction, whose entries share their time, legs stand in the order of versions.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    w.tenant_id, w.account_id, w.stripe, w.posted_at, w.tx_id, w.leg, w.version,
    w.previous_version, w.previous_posted_at, w.balance_after, w.previous_balance
FROM (
    SELECT
        e.tenant_id, e.account_id, e.stripe, e.posted_at, e.tx_id, e.leg, e.version,
        e.balance_after, a.normal_side * e.side * e.posted AS moved,
        lag(e.version) OVER s AS previous_version,
        lag(e.posted_at) OVER s AS previous_posted_at,
        lag(e.tx_id) OVER s AS previous_tx_id,
        lag(e.leg) OVER s AS previous_leg,
        lag(e.balance_after) OVER s AS previous_balance
    FROM ledger_entries AS e
    LEFT JOIN ledger_accounts AS a ON e.tenant_id = a.tenant_id AND e.account_id = a.account_id
    WINDOW s AS (
        PARTITION BY e.tenant_id, e.account_id, e.stripe ORDER BY e.posted_at, e.version
    )
) AS w
WHERE
    w.version <> coalesce(w.previous_version, 0) + 1
    OR (w.tx_id = w.previous_tx_id AND w.leg <= w.previous_leg)
    OR (w.tx_id = w.previous_tx_id) <> (w.posted_at = w.previous_posted_at)
    OR w.balance_after <> coalesce(w.previous_balance, 0) + w.moved
    OR w.moved IS NULL
LIMIT 100;
