-- gates/facts: what the gates of a domain ask the database, in one look.
-- why: a move is refused with all its reasons at once, and status shows the same numbers.
--   `backfill_is_done`: finished since dual write began. Runs and shadow reads count within the phase.
-- params: tenant_id text, domain text
-- kind: read | returns: one | scan: tenant
-- present: backlog, lag_s, intents, rejects, backfill_is_done, backfill_rows, triggers_are_enabled,
--   has_rows, compared, mismatched, in_phase_s
SELECT
    s.phase,
    (
        SELECT o.phase
        FROM migration_state AS o
        WHERE
            o.tenant_id = :'tenant_id'::text AND o.domain <> :'domain'::text
            AND o.finished_at IS NULL
    ) AS other_phase,
    coalesce(extract(EPOCH FROM clock_timestamp() - s.since), 0)::bigint AS in_phase_s,
    coalesce(m.backlog, 0) AS backlog,
    coalesce(extract(EPOCH FROM clock_timestamp() - m.oldest), 0)::bigint AS lag_s,
    (
        SELECT count(*)
        FROM migration_intents AS i
        WHERE
            i.tenant_id = :'tenant_id'::text AND i.domain = :'domain'::text
            AND i.status = 'pending'
    ) AS intents,
    (
        SELECT count(*)
        FROM legacy_rejects AS r
        WHERE
            r.tenant_id = :'tenant_id'::text AND r.domain = :'domain'::text
            AND r.waived_by IS NULL AND r.resolved_at IS NULL
    ) AS rejects,
    b.finished_at IS NOT NULL AS backfill_is_done,
    b.finished_at AS backfill_finished_at,
    coalesce(b.rows_done, 0) AS backfill_rows,
    (
        SELECT count(*) = 2 AND bool_and(t.tgenabled = 'O')
        FROM pg_trigger AS t
        WHERE
            t.tgrelid = to_regclass(:'domain'::text)
            AND t.tgname IN ('legacy_gate', 'legacy_capture')
    ) AS triggers_are_enabled,
    CASE :'domain'::text
        WHEN 'users' THEN EXISTS (
            SELECT FROM users AS u WHERE u.tenant_id = :'tenant_id'::text AND u.role = 'user'
        )
        ELSE EXISTS (SELECT FROM payments AS p WHERE p.tenant_id = :'tenant_id'::text)
    END AS has_rows,
    d.status = 'clean' AS drift_is_clean,
    extract(EPOCH FROM clock_timestamp() - d.started_at)::bigint AS drift_age_s,
    c.compared,
    c.mismatched
FROM (VALUES (:'tenant_id'::text, :'domain'::text)) AS q (tenant_id, domain)
LEFT JOIN migration_state AS s
    ON q.tenant_id = s.tenant_id AND q.domain = s.domain
LEFT JOIN backfill_cursors AS b
    ON q.tenant_id = b.tenant_id AND q.domain = b.domain
LEFT JOIN LATERAL (
    SELECT count(*) AS backlog, min(m.at) AS oldest
    FROM mirror_marks AS m
    WHERE m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
) AS m ON true
LEFT JOIN LATERAL (
    SELECT d.status, d.started_at
    FROM drift_runs AS d
    WHERE
        d.tenant_id = :'tenant_id'::text AND d.domain = :'domain'::text
        AND d.started_at >= s.since AND d.level >= 1 AND d.status <> 'running'
    ORDER BY d.started_at DESC
    LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT
        coalesce(sum(c.compared), 0)::bigint AS compared,
        coalesce(sum(c.mismatched), 0)::bigint AS mismatched
    FROM shadow_counts AS c
    WHERE
        c.tenant_id = :'tenant_id'::text AND c.domain = :'domain'::text
        AND c.day >= s.since::date
) AS c ON true;
