-- payments/list_by_user: payments of one user, newest first, by keyset.
-- why: its own file, so that the index on the user is used.
--   a page looks at scan_rows rows at most; the last row is where it stopped, without a payment.
--   before_* is the only upper end: of two, the index would be read from the wrong one.
-- params: tenant_id text, user_id uuid, statuses text, currency text?, reference text?, created_gte text, amount_gte bigint, amount_lte bigint, metadata text, before_at text, before_id uuid, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
WITH page AS (
    SELECT s.payment, s.created_at, s.id
    FROM (
        SELECT
            p.id, p.created_at, p.status, p.currency, p.reference, p.amount_minor, p.metadata,
            payment_json(p)
            || jsonb_build_object('overdue', coalesce(p.capture_before <= now(), false)) AS payment
        FROM payments AS p
        WHERE
            p.tenant_id = :'tenant_id'::text
            AND p.user_id = :'user_id'::uuid
            AND p.created_at >= :'created_gte'::text::timestamptz
            AND (p.created_at, p.id) < (:'before_at'::text::timestamptz, :'before_id'::uuid)
        ORDER BY p.created_at DESC, p.id DESC
        LIMIT :'scan_rows'::bigint
    ) AS s
    WHERE
        (:'statuses'::text = '' OR s.status::text = any(string_to_array(:'statuses'::text, ',')))
        AND s.currency = coalesce(:'currency'::text, s.currency)
        AND (:'reference'::text IS NULL OR s.reference = :'reference'::text)
        AND s.amount_minor BETWEEN :'amount_gte'::bigint AND :'amount_lte'::bigint
        AND s.metadata @> :'metadata'::text::jsonb
    LIMIT :'row_limit'::bigint
),
edge AS (
    SELECT p.created_at, p.id
    FROM payments AS p
    WHERE
        p.tenant_id = :'tenant_id'::text
        AND p.user_id = :'user_id'::uuid
        AND p.created_at >= :'created_gte'::text::timestamptz
        AND (p.created_at, p.id) < (:'before_at'::text::timestamptz, :'before_id'::uuid)
        AND (SELECT count(*) FROM page) < :'row_limit'::bigint
    ORDER BY p.created_at DESC, p.id DESC
    LIMIT 1
    OFFSET (:'scan_rows'::bigint - 1)
)
SELECT page.payment, page.created_at, page.id FROM page
UNION ALL
SELECT NULL AS payment, edge.created_at, edge.id FROM edge
ORDER BY created_at DESC, id DESC, payment NULLS LAST;
