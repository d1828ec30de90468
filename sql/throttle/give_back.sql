-- throttle/give_back: take back one counted attempt that was never verified.
-- why: who was sent away by a full queue has not guessed (A24). The block goes with it: whoever
-- reached the limit beside it was counted by its own statement.
-- params: tenant_id text, bucket text, key bytea
-- kind: write | returns: count | locks: login_throttle row
UPDATE login_throttle AS t
SET attempts = t.attempts - 1, blocked_until = NULL
WHERE
    t.tenant_id = :'tenant_id'::text
    AND t.bucket = :'bucket'::text
    AND t.key = :'key'::bytea
    AND t.attempts > 0;
