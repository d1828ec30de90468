"""How commands reach the database: settings, stores that run, exit codes of expected errors."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, cast

import click

from commands.servers import running_stores
from config import Config
from errors import AppError
from persistence.db import Database, DbSettings
from persistence.db_errors import OwnerNeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

EXIT_CODES = {404: 3, 409: 3, 422: 2, 503: 4}
CRASHED, USAGE = 1, 2


@contextlib.contextmanager
def opened_database(
    connections: Callable[[Config], int] = lambda _: 1, *, as_owner: bool = False
) -> Iterator[tuple[Config, Database]]:
    """Yield configuration and database; an expected error is its sentence and its exit code.

    `connections`: as many as threads use it, one if the command has no threads. Embedded servers
    are started if nobody had, and stopped afterwards if nobody else needs them. `as_owner`: as
    the role that may change history, where MIGRATE_DATABASE_URL names it.
    """
    with running_stores(Config.load()) as config:
        owner_url = config.migrate_database_url if as_owner else None
        url = cast("SecretStr", owner_url or config.database_url)  # Stores that run have one.
        db = Database(url.get_secret_value(), db_settings(config, connections(config)))
        try:
            yield config, db
        except AppError as error:
            details = [str(fault.get("detail")) for fault in error.errors]
            click.echo(" ".join([f"{error.code}: {error.detail}", *details]), err=True)
            code = USAGE if isinstance(error, OwnerNeeded) else EXIT_CODES.get(error.status)
            sys.exit(CRASHED if code is None else code)
        finally:
            db.close()


def db_settings(config: Config, connections: int) -> DbSettings:
    """Return DB_* for a command with so many threads that use the database."""
    names = [field.name for field in fields(DbSettings) if hasattr(config, f"db_{field.name}")]
    given = {name: getattr(config, f"db_{name}") for name in names}
    return DbSettings(
        **{**given, "pool_size": connections, "pool_max_waiting": 2 * connections},
        request_deadline_ms=config.request_deadline_ms,
    )
