-- throttle/count: count one call of an address or a session in its minute, where Redis is away.
-- why: these two buckets bound load, not guessing; the window is fixed, as it is in Redis.
-- params: tenant_id text, bucket text, key bytea, window_s int
-- kind: write | returns: one | locks: login_throttle row
INSERT INTO login_throttle AS t (tenant_id, bucket, key, attempts)
VALUES (:'tenant_id'::text, :'bucket'::text, :'key'::bytea, 1)
ON CONFLICT (tenant_id, bucket, key) DO UPDATE
SET
    attempts = CASE
        WHEN t.window_start <= now() - make_interval(secs => :'window_s'::int) THEN 1
        ELSE t.attempts + 1
    END,
    window_start = CASE
        WHEN t.window_start <= now() - make_interval(secs => :'window_s'::int) THEN now()
        ELSE t.window_start
    END
RETURNING
    t.attempts,
    ceil(
        extract(EPOCH FROM t.window_start + make_interval(secs => :'window_s'::int) - now())
    )::int AS left_s;
