-- sign_in/record_failure: tell that a password was not proven, and why.
-- why: the answer is the same for every reason (A26); the audit log is not. An address that is
-- nobody's is kept as an HMAC.
-- params: tenant_id text, audit_id uuid, user_id uuid?, event text, reason text, account_key bytea,
--   address text?, user_agent text?, request_id text
-- kind: write | returns: count | locks: none
INSERT INTO audit_log (
    tenant_id, id, user_id, event, outcome, reason, ip, user_agent, request_id, details
)
VALUES (
    :'tenant_id'::text,
    :'audit_id'::uuid,
    :'user_id'::uuid,
    :'event'::text,
    'failed',
    :'reason'::text,
    :'address'::text::inet,
    :'user_agent'::text,
    :'request_id'::text,
    CASE
        WHEN :'user_id'::uuid IS NULL
            THEN jsonb_build_object('email_hmac', encode(:'account_key'::bytea, 'hex'))
        ELSE '{}'::jsonb
    END
);
