-- webhooks/list_deliveries: what an endpoint was and will be sent, newest first, by keyset.
-- why: a delivery in another state is a row without its facts: the reader's place passes it, and a
--   page looks at a bounded number.
-- params: tenant_id text, endpoint_id uuid, state text?, before_at text, before_payment_id uuid, before_seq bigint, row_limit bigint
-- kind: read | returns: many
SELECT
    d.created_at, d.payment_id, d.seq,
    d.state::text = coalesce(:'state'::text, d.state::text) AS is_wanted,
    (
        SELECT e.type FROM payment_events AS e
        WHERE
            e.tenant_id = :'tenant_id'::text AND e.payment_id = d.payment_id AND e.seq = d.seq
    ) AS type,
    d.state::text AS state, d.attempts, d.next_attempt_at, d.last_attempt_at, d.last_status,
    d.last_error
FROM webhook_deliveries AS d
WHERE
    d.tenant_id = :'tenant_id'::text AND d.endpoint_id = :'endpoint_id'::uuid
    AND (d.created_at, d.payment_id, d.seq) < (
        :'before_at'::text::timestamptz, :'before_payment_id'::uuid, :'before_seq'::bigint
    )
ORDER BY d.created_at DESC, d.payment_id DESC, d.seq DESC
LIMIT :'row_limit'::bigint;
