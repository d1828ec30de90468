"""How a run ends: each way has its exit code."""

from __future__ import annotations

import psycopg
import pytest

from persistence.migration_errors import MigrationError, Unfinished
from persistence.migration_execution import answered


@pytest.mark.parametrize(
    ("error", "kind", "code", "text"),
    [
        (KeyboardInterrupt(), Unfinished, 4, "stopped by a signal; what was begun is rolled back"),
        (psycopg.OperationalError("gone"), Unfinished, 4, "PostgreSQL: gone"),
        (psycopg.errors.InsufficientPrivilege("no"), MigrationError, 1, "PostgreSQL: 42501: no"),
    ],
)
def test_what_else_ends_a_run_has_its_exit_code(
    error: BaseException, kind: type[MigrationError], code: int, text: str
) -> None:
    """M16 and the table of exit codes: 1 a refusal, 4 a signal or a lost server."""
    with pytest.raises(MigrationError) as raised, answered():
        raise error
    assert type(raised.value) is kind
    assert (raised.value.exit_code, str(raised.value)) == (code, text)
