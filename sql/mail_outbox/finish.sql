-- mail_outbox/finish: a mail was sent, or has to wait, or is given up.
-- why: without a time to retry nothing is due any more; what was sent says when.
-- params: tenant_id text, mail_id uuid, is_sent boolean, retry_s int?, error text?
-- kind: write | returns: count | locks: mail_outbox row
UPDATE mail_outbox AS m
SET
    next_attempt_at = now() + make_interval(secs => :'retry_s'::int),
    sent_at = CASE WHEN :'is_sent'::boolean THEN now() END,
    last_error = :'error'::text
WHERE m.tenant_id = :'tenant_id'::text AND m.id = :'mail_id'::uuid AND m.sent_at IS NULL;
