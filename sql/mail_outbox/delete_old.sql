-- mail_outbox/delete_old: forget mails that were sent or given up a week ago.
-- why: they hold addresses, and nobody asks for them any more.
-- params: tenant_id text, batch int
-- kind: write | returns: count | locks: mail_outbox rows, those in use skipped | scan: tenant
DELETE FROM mail_outbox AS m
USING (
    SELECT o.tenant_id, o.id
    FROM mail_outbox AS o
    WHERE
        o.tenant_id = :'tenant_id'::text
        AND o.next_attempt_at IS NULL
        AND o.created_at < now() - interval '7 days'
    LIMIT :'batch'::int
    FOR UPDATE SKIP LOCKED
) AS old
WHERE m.tenant_id = old.tenant_id AND m.id = old.id;
