-- postings/list: where transactions stand in the log, newest first, by keyset.
-- why: a page looks at scan_rows transactions at most; its last row may be where it stopped, which
--   is not shown. What they are is read by postings/list_by_ids.
--   before_* is the only upper end: of two, the index would be read from the wrong one.
-- params: tenant_id text, posted_gte text, wanted text, before_at text, before_id uuid, scan_rows bigint, row_limit bigint
-- kind: read | returns: many
SELECT q.posted_at, q.id, q.is_shown, q.is_edge
FROM (
    SELECT
        s.posted_at, s.id, ledger_matches(t.header, :'wanted'::text::jsonb) AS is_shown,
        row_number() OVER (ORDER BY s.posted_at DESC, s.id DESC) = :'scan_rows'::bigint AS is_edge
    FROM (
        SELECT h.posted_at, h.id
        FROM ledger_transactions AS h
        WHERE
            h.tenant_id = :'tenant_id'::text
            AND h.posted_at >= :'posted_gte'::text::timestamptz
            AND (h.posted_at, h.id) < (:'before_at'::text::timestamptz, :'before_id'::uuid)
        ORDER BY h.posted_at DESC, h.id DESC
        LIMIT :'scan_rows'::bigint
    ) AS s
    CROSS JOIN LATERAL (
        SELECT x AS header
        FROM ledger_transactions AS x
        WHERE x.tenant_id = :'tenant_id'::text AND x.id = s.id
        LIMIT 1
    ) AS t
) AS q
WHERE q.is_shown OR q.is_edge
ORDER BY q.posted_at DESC, q.id DESC
LIMIT :'row_limit'::bigint;
