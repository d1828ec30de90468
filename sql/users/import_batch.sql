-- users/import_batch: users of another system, with the hashes that it has of their passwords.
-- why: one statement for hundreds of rows. An address or an old id that is taken is left out, so an
-- import that was cut off is run again.
-- params: tenant_id text, rows jsonb, subject text
-- kind: write | returns: count | locks: tenants row (key share)
WITH given AS (
    SELECT
        r.id, r.audit_id, r.email, r.email_norm, r.email_verified, r.display_name, r.status,
        r.password_hash, r.password_algo, r.password_params, r.legacy_id
    FROM jsonb_to_recordset(:'rows'::jsonb) AS r (
        id uuid, audit_id uuid, email text, email_norm text, email_verified boolean,
        display_name text, status text, password_hash text, password_algo text,
        password_params jsonb, legacy_id text
    )
),

made AS (
    INSERT INTO users (
        tenant_id, id, email, email_norm, email_verified_at, display_name, status, password_hash,
        password_algo, password_params, password_hash_version, legacy_id
    )
    SELECT
        :'tenant_id'::text,
        g.id,
        g.email,
        g.email_norm,
        CASE WHEN g.email_verified THEN now() END,
        g.display_name,
        g.status,
        g.password_hash,
        g.password_algo,
        g.password_params,
        num_nonnulls(g.password_hash),
        g.legacy_id
    FROM given AS g
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, id
)

INSERT INTO audit_log (tenant_id, id, subject, user_id, event, reason)
SELECT
    m.tenant_id,
    g.audit_id,
    :'subject'::text,
    m.id,
    'user_registered',
    'imported'
FROM made AS m
INNER JOIN given AS g ON m.id = g.id;
