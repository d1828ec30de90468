-- What the application's role may do; `flask migrate` applies it after the last file, each time.
-- It may read everything. It may add history and never change it: events, captures, ledger
-- transactions and entries, the audit log. It may delete nothing but settings, idempotency
-- keys, resolved holds, and what is left of logins, links and mails.
-- What is not named below is taken back, so that an old grant does not outlive its line.
DO $$
DECLARE
    -- The runner's search_path is MIGRATE_SCHEMA alone.
    here text := quote_ident(current_schema());
BEGIN
    EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA ' || here || ' FROM strongroom_app';
    EXECUTE 'GRANT USAGE ON SCHEMA ' || here || ' TO strongroom_app';
    EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA ' || here || ' TO strongroom_app';
END
$$;

GRANT INSERT, UPDATE ON tenants, users, api_keys, settings, jobs TO strongroom_app;
GRANT DELETE ON settings TO strongroom_app;
GRANT INSERT ON audit_log TO strongroom_app;
GRANT INSERT, UPDATE ON signing_keys TO strongroom_app;
GRANT INSERT, UPDATE, DELETE ON auth_sessions, one_time_tokens, login_throttle, mail_outbox
TO strongroom_app;
GRANT INSERT, DELETE ON refresh_tokens TO strongroom_app;

GRANT INSERT, UPDATE ON payments, payment_refunds, payment_disputes TO strongroom_app;
GRANT INSERT ON payment_events, payment_captures TO strongroom_app;
GRANT INSERT, UPDATE, DELETE ON idempotency_keys TO strongroom_app;

GRANT INSERT, UPDATE ON ledger_accounts, ledger_balances, ledger_settings TO strongroom_app;
GRANT INSERT ON ledger_transactions, ledger_entries TO strongroom_app;
GRANT INSERT, UPDATE, DELETE ON ledger_holds TO strongroom_app;
GRANT INSERT, UPDATE ON ledger_seal_state TO strongroom_app;
GRANT INSERT, UPDATE ON ledger_seal_keys TO strongroom_app;
GRANT INSERT ON ledger_leaves, ledger_tiles, ledger_seals TO strongroom_app;
GRANT INSERT, UPDATE ON ledger_replay_runs TO strongroom_app;
GRANT INSERT ON ledger_replay_findings TO strongroom_app;

GRANT INSERT, UPDATE ON webhook_endpoints, webhook_deliveries TO strongroom_app;

-- What the move from a legacy store has of its own; it goes away with it.
DO $$
DECLARE
    given text[];
BEGIN
    FOREACH given SLICE 1 IN ARRAY ARRAY[
        ['INSERT, UPDATE', 'migration_state'],
        ['INSERT', 'migration_moves'],
        ['INSERT, UPDATE', 'migration_intents'],
        ['INSERT, UPDATE, DELETE', 'mirror_marks'],
        ['INSERT, UPDATE', 'backfill_cursors'],
        ['INSERT, UPDATE', 'legacy_id_pool'],
        ['INSERT, UPDATE', 'legacy_rejects'],
        ['INSERT, UPDATE', 'shadow_counts'],
        ['INSERT, UPDATE', 'shadow_mismatches'],
        ['INSERT, UPDATE', 'drift_runs'],
        ['INSERT, UPDATE', 'drift_items']
    ] LOOP
        IF to_regclass(given[2]) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %I TO strongroom_app', given[1], given[2]);
        END IF;
    END LOOP;
END
$$;
