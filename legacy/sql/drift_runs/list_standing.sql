-- drift_runs/list_standing: how the last comparison of each domain on its way ended, and when one was clean.
-- why: /healthz tells it in one read; runs that only compare counts (level 0) prove nothing. A few
--   rows of each domain are read, by index.
-- params: none
-- kind: read | returns: many | scan: all
SELECT
    s.tenant_id,
    s.domain,
    d.missing_in_new + d.missing_in_legacy + d.different AS mismatches,
    d.finished_at,
    c.finished_at AS clean_at,
    extract(EPOCH FROM clock_timestamp() - c.finished_at)::bigint AS clean_age_s
FROM migration_state AS s
LEFT JOIN LATERAL (
    SELECT r.missing_in_new, r.missing_in_legacy, r.different, r.finished_at
    FROM drift_runs AS r
    WHERE
        r.tenant_id = s.tenant_id AND r.domain = s.domain
        AND r.level >= 1 AND r.status IN ('clean', 'drift')
    ORDER BY r.started_at DESC
    LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT r.finished_at
    FROM drift_runs AS r
    WHERE
        r.tenant_id = s.tenant_id AND r.domain = s.domain
        AND r.level >= 1 AND r.status = 'clean'
    ORDER BY r.started_at DESC
    LIMIT 1
) AS c ON true
WHERE s.finished_at IS NULL
ORDER BY s.tenant_id, s.domain;
