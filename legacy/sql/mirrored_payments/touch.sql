-- mirrored_payments/touch: raise the version of payments that decide, and nothing else.
-- why: a follower that differs at the same version takes a row only if its version is higher (V5,
--   D23). Each version is an event; the trigger marks the row.
-- params: tenant_id text, legacy_ids text[], actor text, request_id text
-- kind: write | returns: count | locks: payments rows
WITH touched AS (
    UPDATE payments AS p
    SET version = p.version + 1
    WHERE p.tenant_id = :'tenant_id'::text AND p.legacy_id = any(:'legacy_ids'::text[])
    RETURNING p.id, p.version, p.status
)

INSERT INTO payment_events (
    tenant_id, payment_id, seq, type, status_from, status_to, after, actor, request_id, key,
    created_at
)
SELECT
    :'tenant_id'::text, t.id, t.version, 'payment.mirrored', t.status, t.status, e.after,
    :'actor'::text, :'request_id'::text, 'legacy-' || t.id || '-' || t.version, now()
FROM touched AS t
INNER JOIN payment_events AS e
    ON e.tenant_id = :'tenant_id'::text AND t.id = e.payment_id AND e.seq = t.version - 1;
