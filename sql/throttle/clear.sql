-- throttle/clear: forget the attempts on an account.
-- why: a proven password, a reset and an operator's unlock each end what was counted against it.
-- The order is that of sign_in/begin, so that no two wait for each other.
-- params: tenant_id text, pair_key bytea, device_key bytea, account_key bytea
-- kind: write | returns: count | locks: login_throttle rows: pair and device, then account
WITH near AS (
    DELETE FROM login_throttle AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND t.bucket IN ('pair', 'device')
        AND t.key IN (:'pair_key'::bytea, :'device_key'::bytea)
    RETURNING t.bucket
)

DELETE FROM login_throttle AS t
WHERE
    t.tenant_id = :'tenant_id'::text
    AND t.bucket = 'account'
    AND t.key = :'account_key'::bytea
    AND (SELECT count(n.bucket) FROM near AS n) >= 0;
