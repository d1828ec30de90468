-- 0016_argon2_variants: finds the few imported hashes that are Argon2i or Argon2d.
-- users_password_class_idx knows bcrypt and Argon2id; what these cost is asked each minute too.
-- migrate: no-transaction

CREATE INDEX CONCURRENTLY users_argon2_variants_idx ON users (tenant_id, id)
WHERE password_algo IN ('argon2i', 'argon2d');
