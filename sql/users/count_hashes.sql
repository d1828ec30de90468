-- users/count_hashes: how many users of a tenant have which kind of hash.
-- why: tells what is left to upgrade, and who cannot log in with a password. `beginning` is NULL
-- where there is no hash, or none that is bcrypt or Argon2.
-- params: tenant_id text
-- kind: read | returns: many | scan: tenant | present: has_hash, user_count
WITH found AS (
    SELECT coalesce(u.password_hash, u.legacy_password_hash) AS hash_text
    FROM users AS u
    WHERE u.tenant_id = :'tenant_id'::text AND u.status <> 'deleted'
),

kinds AS (
    SELECT
        f.hash_text IS NOT NULL AS has_hash,
        substring(
            f.hash_text
            FROM '^([$]2[aby][$][0-9]{2}|[$]argon2[di]{1,2}[$]v=19[$][^$]{1,40})[$]'
        ) AS beginning
    FROM found AS f
)

SELECT
    k.beginning,
    k.has_hash,
    count(*) AS user_count
FROM kinds AS k
GROUP BY k.beginning, k.has_hash
ORDER BY user_count DESC;
