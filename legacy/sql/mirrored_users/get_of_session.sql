-- mirrored_users/get_of_session: whose session it is; no row: there is none.
-- why: before it is renewed legacy is asked about its user (D15).
-- params: tenant_id text, session_id uuid
-- kind: read | returns: 0..1
SELECT s.user_id
FROM auth_sessions AS s
WHERE s.tenant_id = :'tenant_id'::text AND s.id = :'session_id'::uuid;
