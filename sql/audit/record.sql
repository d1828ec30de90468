-- audit/record: one event that has no other effect than being known, such as a refusal.
-- why: an event with an effect is a step of that effect's own statement instead (A52).
-- params: tenant_id text, audit_id uuid, subject text, event text, outcome text, reason text,
--   address inet?, request_id text
-- kind: write | returns: count | locks: none
INSERT INTO audit_log (tenant_id, id, subject, event, outcome, reason, ip, request_id)
VALUES (
    :'tenant_id'::text,
    :'audit_id'::uuid,
    :'subject'::text,
    :'event'::text,
    :'outcome'::text,
    :'reason'::text,
    :'address'::inet,
    :'request_id'::text
);
