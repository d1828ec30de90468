-- mirror_marks/put_off: a key that could not be copied is tried again later.
-- why: marks are never updated (D20): these go, and one takes their place that waits 1 s at first and
--   twice as long each time, up to 5 min (D25).
-- params: tenant_id text, domain text, mark_ids uuid[], entity_id text, attempts integer,
--   last_error text
-- kind: write | returns: count | locks: mirror_marks rows
WITH gone AS (
    DELETE FROM mirror_marks AS m
    WHERE
        m.tenant_id = :'tenant_id'::text AND m.domain = :'domain'::text
        AND m.mark_id = any(:'mark_ids'::uuid[])
    RETURNING m.origin, m.at
)

INSERT INTO mirror_marks (
    tenant_id, domain, entity_id, origin, at, attempts, next_try_at, last_error
)
SELECT
    :'tenant_id'::text, :'domain'::text, :'entity_id'::text, min(g.origin), min(g.at),
    :'attempts'::integer + 1,
    now() + least(
        interval '5 minutes', interval '1 second' * power(2, least(:'attempts'::integer, 9))
    ),
    :'last_error'::text
FROM gone AS g
HAVING count(*) > 0;
