"""Runs one statement of a file and says where it failed; commits so that doubt is told apart."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from persistence.migration_errors import MigrationError, Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.migration_connection import Connection
    from persistence.migration_files import MigrationFile
    from persistence.migration_splitter import Statement

# The file rolls back and is tried again: others held what it needs (M13).
LOCK_ERRORS = (errors.LockNotAvailable, errors.DeadlockDetected)


class OutcomeUncertainError(Exception):
    """The connection failed at COMMIT, or another runner had claimed the step: look it up."""


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Turn whatever else can end a run into an exit code: a signal, a lost server, a refusal."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Unfinished("stopped by a signal; what was begun is rolled back") from error
    except psycopg.OperationalError as error:
        raise Unfinished(f"PostgreSQL: {error}") from error
    except psycopg.Error as error:
        raise MigrationError(f"PostgreSQL: {error.sqlstate}: {error}") from error


def execute(conn: Connection, file: MigrationFile, statement: Statement) -> None:
    """Run one statement; raises one of LOCK_ERRORS, MigrationError or Unfinished."""
    try:
        # `prepare` refuses two commands in a string, where a server's view and ours might differ.
        conn.execute(statement.text, prepare=False)
    except LOCK_ERRORS:
        raise
    except psycopg.Error as error:
        raise _failure(conn, file, statement, error) from error


def _failure(
    conn: Connection, file: MigrationFile, statement: Statement, error: psycopg.Error
) -> MigrationError:
    position = int(error.diag.statement_position or 1) - 1
    line = statement.line + statement.text.count("\n", 0, position)
    where = f"{file.name}, line {line}, statement {statement.number} of {len(file.statements)}"
    details = {"file": file.name, "line": line, "statement": statement.number}
    if conn.closed:
        return Unfinished(f"{where}: the connection was lost", **details)
    if isinstance(error, errors.QueryCanceled):
        return Unfinished(f"{where}: somebody cancelled it", **details)
    texts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
    reason = ". ".join(text for text in texts if text)
    return MigrationError(
        f"{where}: {error.sqlstate}: {reason}", sqlstate=error.sqlstate, **details
    )


def commit(conn: Connection, file: MigrationFile) -> None:
    """Commit; raises OutcomeUncertainError if nobody can tell whether it happened."""
    if conn.info.transaction_status != TransactionStatus.INTRANS:
        raise MigrationError(f"{file.name} ended the transaction in which it ran")
    try:
        conn.execute("COMMIT")
    except psycopg.Error as error:
        if conn.closed:
            raise OutcomeUncertainError from error
        # A deferred constraint speaks up only now.
        raise MigrationError(
            f"{file.name}, at COMMIT: {error.sqlstate}: {error.diag.message_primary}",
            file=file.name,
            sqlstate=error.sqlstate,
        ) from error
