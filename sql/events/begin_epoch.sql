-- events/begin_epoch: begin the next epoch of events, and say in the audit log who did and why.
-- why: after a logical restore transaction ids start anew; what is read on goes by the epoch first.
-- params: audit_id uuid, subject text, reason text
-- kind: write | returns: one | locks: payments, against every writer
WITH begun AS (
    SELECT begin_event_epoch(:'subject'::text) AS epoch
),
audited AS (
    INSERT INTO audit_log (tenant_id, id, subject, event, reason, details)
    SELECT
        '-', :'audit_id'::uuid, :'subject'::text, 'event_epoch_begun', :'reason'::text,
        jsonb_build_object('epoch', b.epoch)
    FROM begun AS b
)
SELECT b.epoch::integer AS epoch FROM begun AS b;
