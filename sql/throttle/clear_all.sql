-- throttle/clear_all: an operator forgets what was counted against a user, from every address.
-- why: rows hold HMACs, so the addresses come from the audit log (audit/list_addresses). Pairs go
-- before the account, in one order, as in sign_in/begin. It is told even if nothing was counted.
-- params: tenant_id text, user_id uuid, pair_keys bytea[], account_key bytea, subject text,
--   reason text?, audit_id uuid, address text?, request_id text
-- kind: write | returns: count | locks: login_throttle rows: pairs by key, then account
WITH pairs AS (
    SELECT t.tenant_id, t.bucket, t.key
    FROM login_throttle AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND t.bucket = 'pair'
        AND t.key = any(:'pair_keys'::bytea[])
    ORDER BY t.key
    FOR UPDATE
),

near AS (
    DELETE FROM login_throttle AS t
    USING pairs AS p
    WHERE t.tenant_id = p.tenant_id AND t.bucket = p.bucket AND t.key = p.key
    RETURNING t.bucket
),

far AS (
    DELETE FROM login_throttle AS t
    WHERE
        t.tenant_id = :'tenant_id'::text
        AND t.bucket = 'account'
        AND t.key = :'account_key'::bytea
        AND (SELECT count(n.bucket) FROM near AS n) >= 0
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, reason, ip, request_id)
VALUES (
    :'tenant_id'::text,
    :'audit_id'::uuid,
    :'subject'::text,
    :'user_id'::uuid,
    'user_unlocked',
    :'reason'::text,
    :'address'::text::inet,
    nullif(:'request_id'::text, '-')
);
