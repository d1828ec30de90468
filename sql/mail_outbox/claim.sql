-- mail_outbox/claim: take a mail for a minute, with what its link is made of.
-- why: a sender that dies leaves the mail due again. A link that no longer works has no row here:
-- such a mail is not sent. Nobody's mail waits for another's, so no order of locks is needed.
-- params: tenant_id text, mail_id uuid
-- kind: write | returns: 0..1 | locks: mail_outbox row
WITH claimed AS (
    UPDATE mail_outbox AS m
    SET attempts = m.attempts + 1, next_attempt_at = now() + interval '1 minute'
    WHERE
        m.tenant_id = :'tenant_id'::text
        AND m.id = :'mail_id'::uuid
        AND m.next_attempt_at <= now()
    RETURNING
        m.tenant_id, m.id, m.user_id, m.template, m.purpose, m.to_address, m.attempts, m.created_at
)

SELECT
    c.tenant_id,
    c.id,
    c.user_id,
    c.template,
    c.purpose,
    c.to_address,
    c.attempts,
    o.nonce,
    o.master_key_id,
    CASE
        WHEN c.purpose IS NULL THEN c.created_at < now() - interval '3 days'
        ELSE o.nonce IS NULL
    END AS is_void
FROM claimed AS c
LEFT JOIN one_time_tokens AS o
    ON
        c.tenant_id = o.tenant_id
        AND c.user_id = o.user_id
        AND c.purpose = o.purpose
        AND c.to_address = o.sent_to
        AND o.consumed_at IS NULL
        AND o.expires_at > now()
        AND o.epoch = (
            SELECT u.session_epoch FROM users AS u
            WHERE u.tenant_id = c.tenant_id AND u.id = c.user_id AND u.status = 'active'
        );
