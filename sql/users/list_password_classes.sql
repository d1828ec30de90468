-- users/list_password_classes: how the stored hashes of all tenants begin, each kind once.
-- why: a failed log-in costs the same in every tenant (A25). Each kind is found by one step down
-- users_password_class_idx, whose expression this repeats, so a million users are a few steps.
-- Argon2i and Argon2d come from imports and are few: the first thousand tell their kinds.
-- params: none
-- kind: read | returns: many | scan: all | present: beginning
WITH RECURSIVE kinds AS NOT MATERIALIZED (
    SELECT
        substring(
            coalesce(u.password_hash, u.legacy_password_hash)
            FROM '^([$]2[aby][$][0-9]{2}|[$]argon2id[$]v=19[$][^$]{1,40})[$]'
        ) COLLATE "C" AS beginning
    FROM users AS u
),

steps (beginning) AS (
    (
        SELECT k.beginning
        FROM kinds AS k
        WHERE k.beginning > ''
        ORDER BY k.beginning
        LIMIT 1
    )
    UNION ALL
    SELECT following.beginning
    FROM steps AS s
    CROSS JOIN LATERAL (
        SELECT k.beginning
        FROM kinds AS k
        WHERE k.beginning > s.beginning
        ORDER BY k.beginning
        LIMIT 1
    ) AS following
),

variants AS (
    SELECT substring(u.password_hash FROM '^([$]argon2[id][$]v=19[$][^$]{1,40})[$]') AS beginning
    FROM users AS u
    WHERE u.password_algo IN ('argon2i', 'argon2d')
    LIMIT 1000
)

(
    SELECT s.beginning
    FROM steps AS s
    LIMIT 16
)
UNION
SELECT v.beginning
FROM variants AS v
WHERE v.beginning IS NOT NULL;
