-- 0015_throttle_refusals: attempts that a bucket has refused, apart from those that it counted.
-- Only the first refusal of a window is told in the audit log.

ALTER TABLE login_throttle ADD COLUMN refused integer NOT NULL DEFAULT 0;
