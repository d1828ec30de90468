-- replay/begin_run: note that a book is being checked.
-- why: a run that was killed is known too: it has no end.
-- params: tenant_id text, run_id uuid, mode text, levels text, filter jsonb, as_of text, since_seal text?, actor text, host text, app_version text
-- kind: write | returns: count | locks: none: only a new row
INSERT INTO ledger_replay_runs (
    tenant_id, run_id, mode, levels, filter, as_of, since_seal, started_at, actor, host, app_version
)
VALUES (
    :'tenant_id'::text, :'run_id'::uuid,
    :'mode'::text, string_to_array(:'levels'::text, ','),
    :'filter'::jsonb, nullif(:'as_of'::text, 'infinity')::timestamptz, :'since_seal'::text::bigint, now(), :'actor'::text,
    :'host'::text, :'app_version'::text
);
