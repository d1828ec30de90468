-- ops/get_ledger_state: how far the seals are behind, and how the last whole checks of the books went.
-- why: asked at each scrape; one posting and one run of each tenant are read, by index.
-- params: none
-- kind: read | returns: one | scan: all
SELECT
    nullif(min(s.sealed_through), '-infinity') AS sealed_through,
    coalesce(max(extract(EPOCH FROM now() - waits.posted_at) * 1000), 0)::bigint AS seal_lag_ms,
    coalesce(bool_and(run.exit_code = 0), true) AS verified_ok,
    min(run.finished_at) AS verified_at
FROM tenants AS t
LEFT JOIN ledger_seal_state AS s ON t.tenant_id = s.tenant_id
LEFT JOIN LATERAL (
    SELECT x.posted_at
    FROM ledger_transactions AS x
    WHERE x.tenant_id = t.tenant_id AND x.posted_at > coalesce(s.sealed_through, '-infinity')
    ORDER BY x.posted_at
    LIMIT 1
) AS waits ON TRUE
LEFT JOIN LATERAL (
    SELECT
        r.exit_code,
        r.finished_at
    FROM ledger_replay_runs AS r
    WHERE
        r.tenant_id = t.tenant_id
        AND r.finished_at IS NOT NULL
        AND r.filter = '{}'
        AND r.as_of IS NULL
    ORDER BY r.run_id DESC
    LIMIT 1
) AS run ON TRUE;
