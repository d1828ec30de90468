-- postings/list_by_reference: where transactions with references of a range stand in the log.
-- why: a reference is unique among applied transactions; all of a payment's are a range. They are
--   few, so they are sorted.
-- params: tenant_id text, reference_from text, reference_to text, posted_gte text, wanted text, before_at text, before_id uuid, row_limit bigint
-- kind: read | returns: many
SELECT h.posted_at, h.id, true AS is_shown, false AS is_edge
FROM ledger_transactions AS h
WHERE
    h.tenant_id = :'tenant_id'::text AND h.status = 'applied'
    AND h.reference >= :'reference_from'::text AND h.reference < :'reference_to'::text
    AND h.posted_at >= :'posted_gte'::text::timestamptz
    AND (h.posted_at, h.id) < (:'before_at'::text::timestamptz, :'before_id'::uuid)
    AND ledger_matches(h, :'wanted'::text::jsonb)
ORDER BY h.posted_at DESC, h.id DESC
LIMIT :'row_limit'::bigint;
