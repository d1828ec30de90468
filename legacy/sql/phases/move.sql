-- phases/move: one step, forward or back; no row: somebody else has moved it.
-- why: phase, move and audit row commit together, under the gate and the locks of the mirror (D7).
--   The ledger's flag is kept on leaving phase 1 (D4). Going back to 3 lifts the fence (D31).
-- params: tenant_id text, domain text, from_phase smallint, to_phase smallint, moved_by text,
--   reason text, gates jsonb, waived text[], hold_ms bigint, ledger boolean, move_id uuid, audit_id uuid
-- kind: write | returns: 0..1 | locks: migration_state row, then shadow_counts row
WITH moved AS (
    UPDATE migration_state AS s
    SET
        phase = :'to_phase'::smallint,
        since = now(),
        moved_by = :'moved_by'::text,
        note = :'reason'::text,
        ledger_enabled = CASE
            WHEN :'to_phase'::smallint = 1 THEN NULL
            ELSE coalesce(s.ledger_enabled, :'ledger'::boolean)
        END
    WHERE
        s.tenant_id = :'tenant_id'::text AND s.domain = :'domain'::text
        AND s.phase = :'from_phase'::smallint AND s.finished_at IS NULL
    RETURNING s.tenant_id, s.domain, s.phase
),

recorded AS (
    INSERT INTO migration_moves (
        tenant_id, id, domain, from_phase, to_phase, moved_by, reason, gates, waived, hold_ms
    )
    SELECT
        m.tenant_id, :'move_id'::uuid, m.domain, :'from_phase'::smallint, m.phase,
        :'moved_by'::text, :'reason'::text, :'gates'::jsonb, :'waived'::text[],
        :'hold_ms'::bigint
    FROM moved AS m
),

-- What shadow reads found before this step says nothing of the phase that begins.
counted AS (
    UPDATE shadow_counts AS c
    SET compared = 0, matched = 0, mismatched = 0, ignored = 0, failed = 0, dropped = 0
    FROM moved AS m
    WHERE c.tenant_id = m.tenant_id AND c.domain = m.domain AND c.day >= now()::date
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        m.tenant_id, :'audit_id'::uuid, :'moved_by'::text, 'legacy_phase_changed',
        :'reason'::text,
        jsonb_build_object(
            'domain', m.domain, 'from', :'from_phase'::smallint, 'to', m.phase,
            'waived', :'waived'::text[]
        )
    FROM moved AS m
)

SELECT m.phase
FROM moved AS m;
