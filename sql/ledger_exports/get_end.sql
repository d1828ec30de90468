-- ledger_exports/get_end: up to where a book is final, and the checkpoint of it.
-- why: the last line of an export; without a time of its own an export ends at the watermark, so the
--   same request gives the same bytes until that moves. `until`: the first moment behind it.
-- params: tenant_id text
-- kind: read | returns: 0..1
SELECT
    to_char(s.sealed_through AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS sealed_through,
    (s.sealed_through + interval '1 microsecond')::text AS until,
    (
        SELECT k.note
        FROM ledger_seals AS k
        WHERE k.tenant_id = :'tenant_id'::text AND k.tree_size <= s.tree_size
        ORDER BY k.tree_size DESC
        LIMIT 1
    ) AS note
FROM ledger_seal_state AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.sealed_through > '-infinity';
