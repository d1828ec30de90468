"""What every command of `flask migrate` shares: its options, its settings, its way to end."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from commands.servers import clear_failure, with_urls
from config import Config
from persistence.embedded import EmbeddedServers
from persistence.embedded_postgres import SUPERUSER
from persistence.migration_connection import MigrationSettings
from persistence.migration_errors import MigrationError, Unfinished
from persistence.migration_files import FOLDER
from version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr


class Outcome(NamedTuple):
    """What a command found: `data` for --json, `lines` for people, and the exit code."""

    data: dict[str, Any]
    lines: list[str]
    code: int = 0


class Frame(NamedTuple):
    """The options that every command takes, and what it does around its own work."""

    as_json: bool
    database_url: str | None
    folder: Path

    def finish(self, work: Callable[[], Outcome]) -> None:
        """Do the work, print how it ended, exit with its code. SIGTERM ends it as Ctrl-C (M16)."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            outcome = work()
        except MigrationError as error:
            outcome = _failed(error)
        except KeyboardInterrupt:
            outcome = _failed(Unfinished("stopped by a signal"))
        finally:
            signal.signal(signal.SIGTERM, before)
        if self.as_json:
            click.echo(json.dumps({"exit_code": outcome.code, **outcome.data}, default=str))
        for line in outcome.lines:
            click.echo(line, err=self.as_json or "error" in outcome.data)
        sys.exit(outcome.code)

    def run(self, work: Callable[[MigrationSettings], Outcome], *, admin: bool = False) -> None:
        """Do work that needs the database, as its owner; `admin` may make databases too."""

        def connected() -> Outcome:
            with self._settings(admin=admin) as settings:
                return work(settings)

        self.finish(connected)

    @contextlib.contextmanager
    def _settings(self, *, admin: bool) -> Iterator[MigrationSettings]:
        config = Config.load()
        if self.database_url:
            yield self._of(config, self.database_url)
            return
        with clear_failure(), EmbeddedServers.for_config(config) as servers:
            stores = with_urls(config, servers)
            url = cast("SecretStr", stores.migrate_database_url or stores.database_url)
            embedded_admin = servers.postgres.url(SUPERUSER) if admin and servers.postgres else None
            yield self._of(stores, embedded_admin or url.get_secret_value())

    def _of(self, config: Config, url: str) -> MigrationSettings:
        return MigrationSettings(
            database_url=url,
            schema=config.migrate_schema,
            wait_s=config.migrate_wait_s,
            lock_timeout_ms=config.migrate_lock_timeout_ms,
            lock_retries=config.migrate_lock_retries,
            folder=self.folder,
            grants=self.folder.parent / "grants.sql",
            app_version=VERSION,
        )


def _failed(error: MigrationError) -> Outcome:
    data = {"error": type(error).__name__, "message": str(error), **error.details}
    return Outcome(data, [str(error)], error.exit_code)


def framed(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options; its first argument is the Frame that they make."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
    @click.option("--database-url", help="Another database than the configured one.")
    @click.option(
        "--folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=FOLDER,
        help="Another folder of migrations, beside its grants.sql.",
    )
    @functools.wraps(function)
    def command(as_json: bool, database_url: str | None, folder: Path, **options: Any) -> None:
        function(Frame(as_json, database_url, folder), **options)

    return command


class DefaultGroup(click.Group):
    """A group whose default is `apply`: `flask migrate --to 5` is `flask migrate apply --to 5`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `apply` where no command is named."""
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["apply", *args])


class BareDryRun(click.Command):
    """A command whose bare `--dry-run` does not take the next word as its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--dry-run` out."""
        return super().parse_args(ctx, [{"--dry-run": "--dry-run=print"}.get(a, a) for a in args])
