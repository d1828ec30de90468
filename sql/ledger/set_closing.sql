-- ledger/set_closing: close the book through a day, or open it again.
-- why: a posting with a date of its own holds this row until its commit, so each of them is either
--   before the closing or sees it. It moves back only where `reopen` says so; then no row comes.
-- params: tenant_id text, closed_through text?, reopen boolean, audit_id uuid, subject text
-- kind: write | returns: 0..1 | locks: the tenant's ledger_settings row
WITH moved AS (
    INSERT INTO ledger_settings AS s (tenant_id, closed_through, updated_by)
    VALUES (:'tenant_id'::text, :'closed_through'::text::date, :'subject'::text)
    ON CONFLICT (tenant_id) DO UPDATE
    SET
        closed_through = excluded.closed_through, updated_at = excluded.updated_at,
        updated_by = excluded.updated_by
    WHERE
        :'reopen'::boolean OR s.closed_through IS NULL
        OR coalesce(excluded.closed_through >= s.closed_through, false)
    RETURNING closed_through, updated_at, updated_by
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, details)
    SELECT
        :'tenant_id'::text, :'audit_id'::uuid, :'subject'::text, 'ledger.closed',
        jsonb_build_object('closed_through', m.closed_through, 'reopen', :'reopen'::boolean)
    FROM moved AS m
)
SELECT m.closed_through, m.updated_at, m.updated_by
FROM moved AS m;
