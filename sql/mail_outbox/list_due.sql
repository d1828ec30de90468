-- mail_outbox/list_due: mails that wait to be sent, the longest due first.
-- why: one worker sends for all tenants; each mail is then claimed by its tenant and id.
-- params: row_limit int
-- kind: read | returns: many | scan: all
SELECT m.tenant_id, m.id
FROM mail_outbox AS m
WHERE m.next_attempt_at <= now()
ORDER BY m.next_attempt_at
LIMIT :'row_limit'::int;
