-- sessions/delete_old_tokens: forget refresh tokens that were given out a week ago.
-- why: the newest generation stands on the session; these rows only help to trace a theft (A32).
-- params: tenant_id text, batch int
-- kind: write | returns: count | locks: refresh_tokens rows
DELETE FROM refresh_tokens AS r
USING (
    SELECT o.tenant_id, o.session_id, o.generation
    FROM refresh_tokens AS o
    WHERE
        o.tenant_id = :'tenant_id'::text
        AND o.issued_at < now() - interval '7 days'
    ORDER BY o.issued_at
    LIMIT :'batch'::int
) AS old
WHERE
    r.tenant_id = old.tenant_id
    AND r.session_id = old.session_id
    AND r.generation = old.generation;
