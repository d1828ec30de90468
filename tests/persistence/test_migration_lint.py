"""Additive only: for every rule what it refuses, and the way to the same end that it accepts."""

from __future__ import annotations

import pytest

from persistence.migration_files import FOLDER, load, parse
from persistence.migration_lint import Finding, lint
from persistence.migration_reading import read
from persistence.migration_splitter import split

# What an earlier file made: an existing table, a function, and proofs of columns without NULL.
BEFORE = """
CREATE TABLE users (tenant_id text NOT NULL, id uuid NOT NULL, email text, age int, city text,
    CONSTRAINT users_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_city_check CHECK (city IS NOT NULL));
CREATE FUNCTION full_name(given text, family text) RETURNS text LANGUAGE sql RETURN $1 || $2;
ALTER TABLE users ADD CONSTRAINT users_email_check CHECK (email IS NOT NULL) NOT VALID;
"""
VALIDATED = "ALTER TABLE users VALIDATE CONSTRAINT users_email_check;"
NO_TX = "-- migrate: no-transaction\n"
MADE = "CREATE TABLE t (tenant_id text, a int, CONSTRAINT t_pkey PRIMARY KEY (tenant_id));\n"


def findings(text: str, *earlier: str) -> list[Finding]:
    texts = [BEFORE, *earlier, text]
    files = [parse(i, f"{i:04}_f", body) for i, body in enumerate(texts, 1)]
    return [finding for finding in lint(files) if finding.version == len(texts)]


def rules(text: str, *earlier: str) -> list[str]:
    return [finding.rule for finding in findings(text, *earlier)]


REFUSED = [
    ("drop", "DROP TABLE users"),
    ("drop", "DROP FUNCTION full_name"),
    ("drop", "TRUNCATE users"),
    ("drop", "DELETE FROM users WHERE false"),
    ("drop", "ALTER TABLE users DROP COLUMN email"),
    ("drop", "ALTER TABLE users DROP CONSTRAINT users_pkey"),
    ("drop", "ALTER TABLE users ALTER COLUMN email DROP NOT NULL"),
    ("drop", "ALTER TABLE users DETACH PARTITION old"),
    ("drop", NO_TX + "DROP INDEX CONCURRENTLY IF EXISTS users_idx"),
    ("rename", "ALTER TABLE users RENAME COLUMN email TO mail"),
    ("rename", "ALTER TABLE users SET SCHEMA archive"),
    ("rename", "ALTER TYPE payment_status RENAME VALUE 'a' TO 'b'"),
    ("rename", "ALTER INDEX users_idx RENAME TO users_index"),
    ("retype", "ALTER TABLE users ALTER email TYPE varchar(10)"),
    ("retype", "ALTER TABLE users ALTER COLUMN email SET DATA TYPE varchar(10)"),
    (
        "retype",
        "CREATE OR REPLACE FUNCTION full_name(name text) RETURNS text LANGUAGE sql RETURN 1",
    ),
    ("not-null", "ALTER TABLE users ALTER COLUMN age SET NOT NULL"),
    ("not-null", "ALTER TABLE users ALTER COLUMN email SET NOT NULL"),
    ("not-null", "ALTER TABLE users ADD COLUMN x int NOT NULL"),
    ("not-null", "ALTER TABLE users ADD COLUMN x int DEFAULT NULL NOT NULL"),
    ("blocking", "CREATE INDEX users_idx ON users (tenant_id, email)"),
    (
        "blocking",
        "ALTER TABLE users ADD CONSTRAINT users_x_fkey FOREIGN KEY (tenant_id) REFERENCES t (a)",
    ),
    ("blocking", "ALTER TABLE users ADD CONSTRAINT users_x_check CHECK (id <> email)"),
    ("blocking", "ALTER TABLE users ADD CONSTRAINT users_x_key UNIQUE (tenant_id, email)"),
    ("blocking", "ALTER TABLE users ADD COLUMN x int CONSTRAINT users_x_check CHECK (x > 0)"),
    (
        "blocking",
        (
            "ALTER TABLE users ADD CONSTRAINT users_c CHECK (age > 0) NOT VALID;"
            "ALTER TABLE users VALIDATE CONSTRAINT users_c"
        ),
    ),
    ("rewrite", "ALTER TABLE users ADD COLUMN x uuid DEFAULT gen_random_uuid()"),
    ("rewrite", "ALTER TABLE users ADD COLUMN x timestamptz NOT NULL DEFAULT clock_timestamp()"),
    ("rewrite", "ALTER TABLE users ADD COLUMN x bigserial"),
    ("rewrite", "ALTER TABLE users ADD COLUMN x int GENERATED ALWAYS AS (age + 1) STORED"),
    ("rewrite", "ALTER TABLE users SET UNLOGGED"),
    ("rewrite", "CLUSTER users USING users_pkey"),
    ("rewrite", "REINDEX TABLE users"),
    ("rewrite", NO_TX + "VACUUM FULL users"),
    ("rewrite", NO_TX + "VACUUM FULL"),
    ("rewrite", NO_TX + "VACUUM (ANALYZE, FULL) users"),
    ("trigger", "CREATE TRIGGER g BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f()"),
    (
        "trigger",
        NO_TX + "CREATE TRIGGER g BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f();"
        "ANALYZE users",
    ),
    ("trigger", "ALTER TABLE users ENABLE ALWAYS TRIGGER g"),
    ("trigger", "ALTER TABLE users DISABLE TRIGGER g"),
    ("data", "UPDATE users SET email = ''"),
    ("data", "MERGE INTO users USING t ON true WHEN MATCHED THEN DELETE"),
    ("data", "INSERT INTO users (tenant_id) SELECT 'a'"),
    ("data", "INSERT INTO users (tenant_id) VALUES ((SELECT 'a'))"),
    ("data", "INSERT INTO users (tenant_id) VALUES ('a') ON CONFLICT (id) DO UPDATE SET id = 1"),
    ("data", "DO $$ BEGIN PERFORM 1; END $$"),
    ("session", "BEGIN"),
    ("session", "COMMIT"),
    ("session", "SAVEPOINT a"),
    ("session", "SET work_mem = '1GB'"),
    ("session", "SET LOCAL search_path = other"),
    ("session", "SET LOCAL ROLE other"),
    ("session", "SET LOCAL lock_timeout = 0"),
    ("session", NO_TX + "SET LOCAL work_mem = '1GB'"),
    ("session", "CREATE TEMPORARY TABLE x (a int)"),
    ("session", "COPY users FROM STDIN"),
    ("session", "\\i other.sql"),
    ("rerun", "CREATE INDEX CONCURRENTLY users_idx ON users (tenant_id, email)"),
    ("rerun", "VACUUM users"),
    ("unnamed", "CREATE TABLE t (tenant_id text PRIMARY KEY)"),
    ("unnamed", "CREATE DOMAIN d AS text CHECK (VALUE <> '')"),
    ("unnamed", NO_TX + "CREATE INDEX CONCURRENTLY ON users (tenant_id, email)"),
    ("unnamed", "ALTER TABLE users ADD CHECK (age > 0) NOT VALID"),
    ("global-table", "CREATE TABLE t (a int, CONSTRAINT t_pkey PRIMARY KEY (a))"),
    ("global-table", "CREATE TABLE t (a int)"),
    ("global-table", MADE + "CREATE UNIQUE INDEX t_key ON t (lower(a))"),
    (
        "global-table",
        MADE + "ALTER TABLE t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a, tenant_id)",
    ),
    (
        "global-table",
        (
            "CREATE TABLE t (tenant_id text, a int CONSTRAINT t_a_fkey REFERENCES users,"
            " CONSTRAINT t_pkey PRIMARY KEY (tenant_id))"
        ),
    ),
    ("unknown", "SELECT pg_sleep(1)"),
    ("unknown", "WITH gone AS (DELETE FROM users RETURNING 1) SELECT 1"),
    ("unknown", "GRANT ALL ON users TO PUBLIC"),
    ("unknown", "ALTER TABLE users OWNER TO other"),
    ("unknown", 'ALTER TABLE users ADD COLUMN "x, DROP COLUMN y" int'),
    ("unknown", 'COMMENT ON "odd (name)"."b" IS 1; ALTER TABLE "odd name" ADD COLUMN x int'),
    ("unknown", "CREATE TABLE t AS SELECT 1"),
    ("unknown", "CREATE TABLE t (LIKE users, CONSTRAINT t_pkey PRIMARY KEY (tenant_id))"),
    ("unknown", "CREATE UNLOGGED TABLE t (a int)"),
    ("unknown", "SELECT (1"),
    ("unknown", "SELECT 1)"),
]

ACCEPTED = [
    MADE + "CREATE INDEX t_idx ON t (tenant_id, a)",
    MADE + "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
    MADE + "ALTER TABLE t ADD COLUMN x int NOT NULL",
    MADE + "ALTER TABLE t ADD CONSTRAINT t_check CHECK (a > 0)",
    MADE + "UPDATE t SET a = 1; INSERT INTO t SELECT 'a', 1",
    MADE + "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
    MADE + "ALTER TABLE t ENABLE TRIGGER g, DISABLE TRIGGER g",
    (
        "CREATE TABLE t (tenant_id text, code char(3) CONSTRAINT t_c REFERENCES currencies (code),"
        " a int CONSTRAINT t_a CHECK (a > 0), CONSTRAINT t_pkey PRIMARY KEY (tenant_id))"
    ),
    "CREATE TABLE currencies (code char(3), CONSTRAINT currencies_pkey PRIMARY KEY (code))",
    (
        "CREATE TABLE late (tenant_id text NOT NULL);"
        "ALTER TABLE late ADD CONSTRAINT late_pkey PRIMARY KEY (tenant_id)"
    ),
    "ALTER TABLE users ADD COLUMN x int",
    "ALTER TABLE users ADD x int, ADD COLUMN IF NOT EXISTS y text NOT NULL DEFAULT ''",
    "ALTER TABLE users ADD COLUMN x jsonb NOT NULL DEFAULT '{}'::jsonb",
    "ALTER TABLE users ADD COLUMN x numeric(10, 2) DEFAULT -1.5::numeric(10, 2) NOT NULL",
    "ALTER TABLE users ADD COLUMN x text[] DEFAULT ARRAY['a', 'b']::text[]",
    "ALTER TABLE users ADD COLUMN x timestamp with time zone NOT NULL DEFAULT now()",
    "ALTER TABLE users ADD COLUMN x interval DEFAULT interval '1 day'",
    "ALTER TABLE users ADD COLUMN x boolean DEFAULT false NOT NULL",
    'ALTER TABLE users ADD COLUMN x text COLLATE "C"',
    "ALTER TABLE users ALTER COLUMN city SET NOT NULL",
    "ALTER TABLE users ALTER COLUMN age SET DEFAULT 1",
    "ALTER TABLE users ALTER COLUMN age SET STATISTICS 1000",
    "ALTER TABLE users SET (fillfactor = 70)",
    "ALTER TABLE users ADD CONSTRAINT users_x_check CHECK (age > 0) NOT VALID",
    "ALTER TABLE users ADD CONSTRAINT c FOREIGN KEY (tenant_id) REFERENCES t (a) NOT VALID",
    "ALTER TABLE users ADD CONSTRAINT users_x_key UNIQUE USING INDEX users_x_idx",
    "ALTER TABLE users VALIDATE CONSTRAINT users_email_check",
    NO_TX + "ALTER TABLE users ADD CONSTRAINT users_c CHECK (age > 0) NOT VALID;"
    "ALTER TABLE users VALIDATE CONSTRAINT users_c",
    NO_TX + "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS k ON users USING btree (tenant_id, age)"
    " WHERE age IS NOT NULL",
    NO_TX + "VACUUM (ANALYZE) users; VACUUM ANALYZE users; REINDEX INDEX CONCURRENTLY users_pkey",
    (
        "CREATE TRIGGER g AFTER INSERT OR UPDATE OF age ON users FOR EACH ROW EXECUTE FUNCTION f();"
        "ALTER TABLE users DISABLE TRIGGER g"
    ),
    (
        "CREATE OR REPLACE FUNCTION full_name(given text, family text) RETURNS text LANGUAGE sql"
        " RETURN $2 || $1"
    ),
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$",
    "INSERT INTO users (tenant_id) VALUES ('SELECT'), ('b') ON CONFLICT DO NOTHING",
    "CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TYPE mood ADD VALUE IF NOT EXISTS 'c' AFTER 'a'",
    "CREATE DOMAIN d AS text CONSTRAINT d_check CHECK (VALUE <> '')",
    "CREATE SEQUENCE s; CREATE VIEW v AS SELECT 1; CREATE STATISTICS st ON a, b FROM users",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm; COMMENT ON TABLE users IS 'DROP TABLE users;'",
    "ANALYZE users; SET LOCAL work_mem = '1GB'",
]


@pytest.mark.parametrize(("rule", "text"), REFUSED)
def test_what_is_not_additive_is_found(rule: str, text: str) -> None:
    """M30: under the rule's own name, with the line and without an excuse."""
    found = [finding for finding in findings(text) if finding.rule == rule]
    assert found
    assert found[0].refused(allow_destructive=True)


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_is_additive_is_accepted(text: str) -> None:
    """M30."""
    assert [str(finding) for finding in findings(text)] == []


def test_a_drop_of_an_index_must_be_able_to_run_twice() -> None:
    """M14: a crash between the statement and its count runs it again."""
    text = NO_TX + '-- migrate: allow drop "x"\nDROP INDEX CONCURRENTLY {}users_idx;'
    assert rules(text.format("")) == ["rerun", "drop"]
    assert rules(text.format("IF EXISTS ")) == ["drop"]


@pytest.mark.parametrize("text", ["VACUUM FULL users", "VACUUM users", "VACUUM (FULL) users"])
def test_every_vacuum_needs_a_file_without_transaction(text: str) -> None:
    """M14: the server refuses it in a transaction."""
    assert "rerun" in rules(text)
    assert "rerun" not in rules(NO_TX + text)


def test_set_not_null_is_fine_once_a_check_was_validated() -> None:
    """M30: then PostgreSQL reads no row."""
    text = "ALTER TABLE users ALTER COLUMN email SET NOT NULL"
    assert rules(text) == ["not-null"]
    assert rules(text, VALIDATED) == []


def test_a_table_that_may_be_an_old_one_is_treated_as_one() -> None:
    """M30: IF NOT EXISTS does not tell."""
    text = MADE.replace("TABLE t", "TABLE IF NOT EXISTS t") + "CREATE INDEX i ON t (tenant_id)"
    assert rules(text) == ["blocking"]


def test_a_do_block_with_a_destroying_word_needs_both_keys() -> None:
    """M31: DO can hide a DROP."""
    text = "DO $$ BEGIN EXECUTE 'D' || 'ROP TABLE users'; END $$"
    assert rules(text) == ["data", "drop"]


def test_destructive_rules_need_two_keys() -> None:
    """M31: the file's reason and the command line; every other rule is satisfied with the first."""
    directives = '-- migrate: allow drop "nobody reads it"\n-- migrate: allow blocking "empty"\n'
    drop, blocking = findings(directives + "DROP TABLE users; CREATE INDEX i ON users (tenant_id)")
    assert (drop.rule, drop.reason) == ("drop", "nobody reads it")
    assert drop.refused(allow_destructive=False)
    assert not drop.refused(allow_destructive=True)
    assert not blocking.refused(allow_destructive=False)


def test_a_finding_reads_as_one_line() -> None:
    """M30: file, line, rule, why, and the reason that was given."""
    text = '-- migrate: allow drop "gone"\n\nDROP TABLE users'
    assert [str(finding) for finding in findings(text)] == [
        "0002_f, line 3: drop: the old release, or the way back, may still need it (allowed: gone)"
    ]


def test_our_own_migrations_are_additive() -> None:
    """M30."""
    assert [f for f in lint(load(FOLDER)) if f.refused(allow_destructive=False)] == []


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("ALTER TABLE ONLY public.users ADD x int", [("public.users", "ACCESS EXCLUSIVE")]),
        ("CREATE INDEX i ON users (a)", [("users", "SHARE")]),
        ("CREATE INDEX CONCURRENTLY i ON users (a)", [("users", "SHARE UPDATE EXCLUSIVE")]),
        (
            "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b (y) NOT VALID",
            [("a", "SHARE ROW EXCLUSIVE"), ("b", "SHARE ROW EXCLUSIVE")],
        ),
        ("CREATE TABLE a (x int REFERENCES b)", [("b", "SHARE ROW EXCLUSIVE")]),
        ("DROP TABLE IF EXISTS a, b", [("a", "ACCESS EXCLUSIVE")]),
        ("CREATE VIEW v AS SELECT 1", []),
    ],
)
def test_a_reading_names_the_locks(text: str, locks: list[tuple[str, str]]) -> None:
    """M21: expected locks are known without a database."""
    (statement,) = split(text)[0]
    assert [lock for reading in read(statement) for lock in reading.locks()] == locks
