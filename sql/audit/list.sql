-- audit/list: what happened in a tenant, newest first, by keyset.
-- why: a page looks at scan_rows rows at most, however rare the event is that is asked for; the row
-- where it stopped comes too, so that the cursor can go on.
-- before_* is the only upper end: of two, the index would be read from the wrong one.
-- params: tenant_id text, event text?, from_at text, before_at text,
--   before_id uuid, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
WITH seen AS (
    SELECT
        a.id,
        a.at,
        a.subject,
        a.user_id,
        a.session_id,
        a.event,
        a.outcome,
        a.reason,
        a.ip,
        a.user_agent,
        a.request_id,
        a.details,
        row_number() OVER (ORDER BY a.at DESC, a.id DESC) = :'scan_rows'::bigint AS is_edge
    FROM audit_log AS a
    WHERE
        a.tenant_id = :'tenant_id'::text
        AND a.at >= :'from_at'::text::timestamptz
        AND (a.at, a.id) < (:'before_at'::text::timestamptz, :'before_id'::uuid)
    ORDER BY a.at DESC, a.id DESC
    LIMIT :'scan_rows'::bigint
)

SELECT
    s.id,
    s.at,
    s.subject,
    s.user_id,
    s.session_id,
    s.event,
    s.outcome,
    s.reason,
    host(s.ip) AS ip,
    s.user_agent,
    s.request_id,
    s.details,
    s.is_edge,
    s.event = coalesce(:'event'::text, s.event) AS is_shown
FROM seen AS s
WHERE s.is_edge OR s.event = coalesce(:'event'::text, s.event)
ORDER BY s.at DESC, s.id DESC
LIMIT :'row_limit'::bigint;
