-- phases/attach: legacy decides from now on, in phase 1.
-- why: state, move and audit row commit together; a domain that is on its way already gives no row.
--   One that was finished may be attached again.
-- params: tenant_id text, domain text, adapter text, writers text, moved_by text, reason text,
--   gates jsonb, waived text[], hold_ms bigint, move_id uuid, audit_id uuid
-- kind: write | returns: 0..1 | locks: migration_state row
WITH attached AS (
    INSERT INTO migration_state AS s (tenant_id, domain, moved_by, adapter, writers)
    VALUES (
        :'tenant_id'::text, :'domain'::text, :'moved_by'::text, :'adapter'::text, :'writers'::text
    )
    ON CONFLICT (tenant_id, domain) DO UPDATE
    SET
        phase = 1, finished_at = NULL, since = now(), moved_by = excluded.moved_by,
        adapter = excluded.adapter, writers = excluded.writers, ledger_enabled = NULL,
        fenced_at = NULL
    WHERE s.finished_at IS NOT NULL
    RETURNING tenant_id, domain, phase
),

recorded AS (
    INSERT INTO migration_moves (
        tenant_id, id, domain, from_phase, to_phase, moved_by, reason, gates, waived, hold_ms
    )
    SELECT
        a.tenant_id, :'move_id'::uuid, a.domain, 0, a.phase, :'moved_by'::text, :'reason'::text,
        :'gates'::jsonb, :'waived'::text[], :'hold_ms'::bigint
    FROM attached AS a
),

audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        a.tenant_id, :'audit_id'::uuid, :'moved_by'::text, 'legacy_phase_changed',
        :'reason'::text, jsonb_build_object('domain', a.domain, 'from', 0, 'to', a.phase)
    FROM attached AS a
)

SELECT a.phase
FROM attached AS a;
