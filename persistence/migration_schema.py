"""The snapshot sql/schema.sql: what all migrations add up to, for reviews and for `verify`.

pg_dump of one version reads servers of 16 and of 18 alike; what names a run or a version is
taken out, so that equal schemas are equal texts.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from persistence.embedded_postgres import binaries
from persistence.migration_connection import connection
from persistence.migration_errors import MigrationError, Misconfigured
from persistence.migration_execution import answered
from persistence.migration_files import FOLDER
from persistence.migrator import apply_all

if TYPE_CHECKING:
    from persistence.migration_connection import Connection, MigrationSettings

SNAPSHOT = FOLDER.parent / "schema.sql"
PG_DUMP_MAJOR = 18
HEADER = """\
-- What sql/migrations add up to, written by `flask migrate schema`: to be read, not to be edited.
-- tests/contract/test_schema_snapshot.py and `flask migrate verify --schema` compare it.

"""

# The preamble, pg_dump's own headings, and settings that say nothing of the schema.
_NOISE = re.compile(
    r"\A[\s\S]*?^SET row_security = off;\n|^--\n-- (?:Name:|PostgreSQL database dump).*\n--\n"
    r"|^SET default_\w+ = .*;\n|^\\unrestrict .*\n|^(?:CREATE|COMMENT ON) SCHEMA .*;\n",
    re.MULTILINE,
)


def scratch_name() -> str:
    """Return a name that no database has."""
    return f"strongroom_scratch_{uuid.uuid4().hex}"


def scratch_dump(settings: MigrationSettings) -> str:
    """Return the snapshot of all files, applied to a scratch database that is dropped again.

    Raises Misconfigured if the role may not create databases, and as `apply_all` does.
    """
    name = scratch_name()
    url = make_conninfo(settings.database_url, dbname=name)
    with answered(), connection(replace(settings, schema="pg_catalog")) as conn:
        try:
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
            )
        except errors.InsufficientPrivilege as error:
            raise Misconfigured("the role may not create a scratch database: CREATEDB") from error
        try:
            scratch = replace(settings, database_url=url, schema="public", grants=None)
            apply_all(scratch, allow_destructive=True)
            return live_dump(scratch)
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def live_dump(settings: MigrationSettings) -> str:
    """Return the snapshot of the schema as it is in the database."""
    with answered(), connection(settings) as conn:
        text = _pg_dump(conn, settings.schema)
    body = re.sub(rf"\b{re.escape(settings.schema)}\.", "public.", _NOISE.sub("", text))
    return HEADER + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def schema_diff(settings: MigrationSettings) -> str:
    """Return the unified diff from the snapshot to the database, "" if they are the same."""
    if not SNAPSHOT.is_file():
        raise Misconfigured(f"{SNAPSHOT} is not there: `flask migrate schema` writes it")
    there = live_dump(settings).splitlines(keepends=True)
    wanted = SNAPSHOT.read_text("utf-8").splitlines(keepends=True)
    return "".join(difflib.unified_diff(wanted, there, "sql/schema.sql", "database"))


def _pg_dump(conn: Connection, schema: str) -> str:
    program = binaries(PG_DUMP_MAJOR) / "pg_dump"
    options = ["--schema-only", "--no-owner", "--no-privileges", f"--schema={schema}"]
    options.append("--exclude-table=*.schema_migration*")
    done = subprocess.run(  # noqa: S603  # Our own program; the password stays out of its arguments.
        [program, *options, f"--dbname={conn.info.dsn}"],
        env={"PGPASSWORD": conn.info.password},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MigrationError(f"pg_dump: {done.stderr.strip()}")
    return done.stdout
