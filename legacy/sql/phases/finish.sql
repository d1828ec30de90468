-- phases/finish: the move is over; there is no way back.
-- why: the marks that were parked for the way back are dropped with it, and the hashes that only
--   legacy could read go where a new one is stored (D40). All or nothing.
-- params: tenant_id text, domain text, moved_by text, reason text, move_id uuid, audit_id uuid
-- kind: write | returns: 0..1 | locks: migration_state row, users rows
-- scan: tenant
WITH finished AS (
    UPDATE migration_state AS s
    SET finished_at = now(), moved_by = :'moved_by'::text, note = :'reason'::text
    WHERE
        s.tenant_id = :'tenant_id'::text AND s.domain = :'domain'::text AND s.phase = 5
        AND s.finished_at IS NULL
    RETURNING s.tenant_id, s.domain
),

dropped AS (
    DELETE FROM mirror_marks AS m
    USING finished AS f
    WHERE
        m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
        AND f.domain = m.domain
    RETURNING m.mark_id
),

cleared AS (
    UPDATE users AS u
    SET legacy_password_hash = NULL, version = u.version + 1, updated_at = now()
    FROM finished AS f
    WHERE
        u.tenant_id = :'tenant_id'::text AND f.domain = 'users'
        AND u.legacy_password_hash IS NOT NULL AND u.password_hash IS NOT NULL
    RETURNING u.id
),

recorded AS (
    INSERT INTO migration_moves (
        tenant_id, id, domain, from_phase, to_phase, moved_by, reason
    )
    SELECT
        f.tenant_id, :'move_id'::uuid, f.domain, 5, 6, :'moved_by'::text, :'reason'::text
    FROM finished AS f
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        f.tenant_id, :'audit_id'::uuid, :'moved_by'::text, 'legacy_finished', :'reason'::text,
        jsonb_build_object(
            'domain', f.domain, 'marks_dropped', (SELECT count(*) FROM dropped),
            'hashes_cleared', (SELECT count(*) FROM cleared)
        )
    FROM finished AS f
)

SELECT
    (SELECT count(*) FROM dropped) AS marks_dropped,
    (SELECT count(*) FROM cleared) AS hashes_cleared
FROM finished AS f;
