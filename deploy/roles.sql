-- What each session of the service starts with, kept by its role: behind PgBouncer (DB_POOLER) the
-- service sets nothing itself. Run as an administrator: `psql -f deploy/roles.sql`. Numbers are
-- those of DB_LOCK_TIMEOUT_MS and its neighbours; a boot compares them (`flask check-config --db`).
ALTER ROLE strongroom_app SET lock_timeout = '1000ms';
ALTER ROLE strongroom_app SET statement_timeout = '3000ms';
ALTER ROLE strongroom_app SET idle_in_transaction_session_timeout = '4000ms';
ALTER ROLE strongroom_app SET client_connection_check_interval = '500ms';
ALTER ROLE strongroom_app SET timezone = 'UTC';
ALTER ROLE strongroom_app SET search_path = public;
ALTER ROLE strongroom_app SET default_transaction_isolation = 'read committed';

-- A request finds its rows by keys, so its plans go by index from the first row on.
ALTER ROLE strongroom_app SET plan_cache_mode = force_generic_plan;
ALTER ROLE strongroom_app SET enable_seqscan = off;
ALTER ROLE strongroom_app SET enable_bitmapscan = off;
ALTER ROLE strongroom_app SET enable_hashjoin = off;
ALTER ROLE strongroom_app SET enable_mergejoin = off;
ALTER ROLE strongroom_app SET jit = off;

-- From PostgreSQL 17 on.
DO $$
BEGIN
    IF current_setting('transaction_timeout', true) IS NOT NULL THEN
        ALTER ROLE strongroom_app SET transaction_timeout = '4000ms';
    END IF;
END
$$;
