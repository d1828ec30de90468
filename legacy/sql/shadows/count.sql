-- shadows/count: what became of shadow reads, added to the day's numbers.
-- why: the gates of 3 -> 4 and 4 -> 5 ask them, whichever process has looked (D32).
-- params: tenant_id text, domain text, compared bigint, matched bigint, mismatched bigint,
--   ignored bigint, failed bigint, dropped bigint
-- kind: write | returns: count | locks: shadow_counts row
INSERT INTO shadow_counts AS c (
    tenant_id, domain, day, compared, matched, mismatched, ignored, failed, dropped
)
VALUES (
    :'tenant_id'::text, :'domain'::text, now()::date, :'compared'::bigint, :'matched'::bigint,
    :'mismatched'::bigint, :'ignored'::bigint, :'failed'::bigint, :'dropped'::bigint
)
ON CONFLICT (tenant_id, domain, day) DO UPDATE
SET
    compared = c.compared + excluded.compared,
    matched = c.matched + excluded.matched,
    mismatched = c.mismatched + excluded.mismatched,
    ignored = c.ignored + excluded.ignored,
    failed = c.failed + excluded.failed,
    dropped = c.dropped + excluded.dropped;
