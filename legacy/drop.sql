-- Takes away what 0014_legacy_core made: copy it to sql/migrations under the next number once every
-- domain is finished, and apply it with --allow-destructive. Kept apart from the folder's end.
-- migrate: allow drop "the move from the legacy store is over; legacy/ has been deleted"

DROP TRIGGER legacy_gate ON users;
DROP TRIGGER legacy_capture ON users;
DROP TRIGGER legacy_gate ON payments;
DROP TRIGGER legacy_capture ON payments;
DROP FUNCTION legacy_gate();
DROP FUNCTION legacy_capture();
DROP FUNCTION legacy_switch(text, boolean);

DROP TABLE drift_items;
DROP TABLE drift_runs;
DROP TABLE shadow_mismatches;
DROP TABLE shadow_counts;
DROP TABLE legacy_rejects;
DROP TABLE legacy_id_pool;
DROP TABLE backfill_cursors;
DROP TABLE mirror_marks;
DROP TABLE migration_intents;
DROP TABLE migration_moves;
DROP TABLE migration_state;
