"""The audit log takes rows and gives them back, and nothing else (A53)."""

from __future__ import annotations

import psycopg
import pytest

INSERT = (
    b"INSERT INTO audit_log (tenant_id, id, event, outcome, user_agent, details)"
    b" VALUES ('default', gen_random_uuid(), 'login', 'ok', 'curl', '{}')"
)


@pytest.mark.parametrize(
    "command",
    [b"UPDATE audit_log SET outcome = 'failed'", b"DELETE FROM audit_log", b"TRUNCATE audit_log"],
)
def test_the_application_cannot_rewrite_what_happened(database: str, command: bytes) -> None:
    """A53."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(INSERT)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(command)
        assert conn.execute("SELECT event FROM audit_log").fetchall() == [("login",)]


@pytest.mark.parametrize(
    ("old", "new", "constraint"),
    [
        (b"'ok'", b"'perhaps'", "audit_log_outcome_check"),
        (b"'curl'", b"repeat('x', 257)", "audit_log_user_agent_check"),
        (b"'{}'", b"'[]'", "audit_log_details_check"),
    ],
)
def test_a_wrong_event_cannot_be_stored(
    database: str, old: bytes, new: bytes, constraint: str
) -> None:
    with psycopg.connect(database) as conn, pytest.raises(psycopg.IntegrityError) as caught:
        conn.execute(INSERT.replace(old, new))
    assert caught.value.diag.constraint_name == constraint
