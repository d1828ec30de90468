-- legacy_rejects/waive: a person has decided that this row may stay behind.
-- why: the gates count what nobody has looked at.
-- params: tenant_id text, domain text, entity_id text, waived_by text, reason text, audit_id uuid
-- kind: write | returns: count | locks: legacy_rejects row
WITH waived AS (
    UPDATE legacy_rejects AS r
    SET waived_by = :'waived_by'::text, reason = :'reason'::text
    WHERE
        r.tenant_id = :'tenant_id'::text AND r.domain = :'domain'::text
        AND r.entity_id = :'entity_id'::text AND r.resolved_at IS NULL
    RETURNING r.tenant_id, r.domain, r.entity_id, r.code
)

INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
SELECT
    w.tenant_id, :'audit_id'::uuid, :'waived_by'::text, 'legacy_reject_waived', :'reason'::text,
    jsonb_build_object('domain', w.domain, 'entity_id', w.entity_id, 'code', w.code)
FROM waived AS w;
