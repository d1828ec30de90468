"""Applies sql/grants.sql after the last file: what the application's role may do (M16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability import log
from persistence.migration_errors import Misconfigured

if TYPE_CHECKING:
    from persistence.migration_connection import Connection, MigrationSettings

APP_ROLE = "strongroom_app"


def read_grants(settings: MigrationSettings) -> str | None:
    """Return the text to apply, None without one; raises Misconfigured before anything is done."""
    if settings.grants is None:
        return None
    try:
        return settings.grants.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{settings.grants} cannot be read: {error}") from error


def apply_grants(conn: Connection, text: str | None) -> str:
    """Apply the grants in one transaction; return "applied", or why not."""
    if text is None:
        return "skipped: none are set"
    if conn.execute("SELECT to_regrole(%s)", [APP_ROLE]).fetchone() == (None,):
        log.warning("migrate.grants_skipped", missing_role=APP_ROLE)
        return f"skipped: there is no role {APP_ROLE}"
    conn.execute("BEGIN")
    conn.execute(text)
    conn.execute("COMMIT")
    return "applied"
