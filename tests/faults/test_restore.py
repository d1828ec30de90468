"""The runbooks of docs/operations.md, run as they stand there; a restore to a moment, proved."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_postgres import SUPERUSER, binaries
from persistence.embedded_process import wait_until
from persistence.migrator import MigrationSettings, apply_all
from tests.conftest import PG_MAJOR
from tests.contract.tree import text
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def commands(heading: str) -> list[list[str]]:
    """Return the `flask` commands of a section of the page, in order."""
    section = text("docs/operations.md").partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    found = [
        shlex.split(line, comments=True)[1:]
        for line in re.findall(r"^flask .+", blocks, re.MULTILINE)
    ]
    assert found, heading
    return found


def failures(
    servers: EmbeddedServers, var_dir: Path, heading: str, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Run them one after another; return what did not end well, and what it said."""
    monkeypatch.setenv("DATABASE_URL", servers.database_url or "")
    monkeypatch.setenv("MIGRATE_DATABASE_URL", servers.owner_url or "")
    monkeypatch.setenv("REDIS_URL", "off")
    monkeypatch.setenv("VAR_DIR", str(var_dir))
    monkeypatch.setenv("JWT_ALG", "ES256")
    world = World(servers.database_url or "", var_dir)
    runner = world.app.test_cli_runner()
    ended = [(command, runner.invoke(args=command)) for command in commands(heading)]
    world.close()
    return [
        f"{command}: {done.output}{done.exception}" for command, done in ended if done.exit_code
    ]


@pytest.mark.parametrize("heading", ["Migrate", "Roll back", "Rotate keys"])
def test_a_runbook_runs_as_it_stands(
    shared_servers: EmbeddedServers, tmp_path: Path, heading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 10: over a database that is in use."""
    assert failures(shared_servers, tmp_path / "app", heading, monkeypatch) == []


@pytest.fixture
def archived(made_var_dir: Path, tmp_path: Path) -> Iterator[EmbeddedServers]:
    """A server whose WAL goes to an archive."""
    path, archive = tmp_path / "var", tmp_path / "archive"
    subprocess.run(["cp", "-a", str(made_var_dir), str(path)], check=True)
    archive.mkdir()
    archive.chmod(0o777)
    options = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    settings = EmbeddedSettings(path, pg_major=PG_MAJOR, valkey=False, pg_options=options)
    with EmbeddedServers(settings) as servers:
        assert servers.owner_url is not None
        apply_all(MigrationSettings(database_url=servers.owner_url))
        yield servers


def test_a_restore_to_a_moment_is_proved(
    archived: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OD4: base backup and archive, everything up to the moment and nothing after it."""
    world = World(archived.database_url or "", tmp_path / "app")
    before = [world.captured() for _ in range(3)]
    _back_up(archived, tmp_path / "backup")
    before += [world.captured() for _ in range(3)]
    ((moment,),) = world.rows("SELECT now()::text")
    after = world.captured()
    _archive_all(archived, tmp_path / "archive")
    world.close()
    began = time.monotonic()
    with _restored(archived, tmp_path, moment) as restored:
        with psycopg.connect(restored.database_url or "", autocommit=True) as conn:
            assert wait_until(lambda: not _recovers(conn), 60)
            took_s = time.monotonic() - began
            found = {str(row[0]) for row in conn.execute("SELECT id FROM payments")}
        assert found == set(before)
        assert after not in found
        assert failures(restored, tmp_path / "proved", "Restore", monkeypatch) == []
    sys.stderr.write(f"restored in {took_s:.1f} s, to {moment}\n")
    EmbeddedServers(EmbeddedSettings(tmp_path / "restored")).reset()


def _recovers(conn: psycopg.Connection[Any]) -> bool:
    row = conn.execute("SELECT pg_is_in_recovery()").fetchone()
    return row is None or bool(row[0])


def _back_up(servers: EmbeddedServers, folder: Path) -> None:
    assert servers.postgres is not None
    url = servers.postgres.url(SUPERUSER, "postgres")
    program = binaries(PG_MAJOR) / "pg_basebackup"
    subprocess.run([program, "-d", url, "-D", folder, "-c", "fast", "-X", "stream"], check=True)


def _archive_all(servers: EmbeddedServers, archive: Path) -> None:
    """Close the WAL file that is being written, and wait until it is in the archive."""
    assert servers.postgres is not None
    url = servers.postgres.url(SUPERUSER, "postgres")
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    assert row is not None
    assert wait_until((archive / row[0]).exists, 60)


def _restored(servers: EmbeddedServers, place: Path, moment: str) -> EmbeddedServers:
    """Put the backup where another server has its data, and let it recover to the moment."""
    old, new = servers.var.path, place / "restored"
    (new / "pg").mkdir(parents=True)
    shutil.copytree(old / "secrets", new / "secrets")
    data = new / "pg" / str(PG_MAJOR)
    shutil.copytree(place / "backup", data)
    (data / "recovery.signal").touch()
    owner = (old / "pg" / str(PG_MAJOR)).stat()
    for path in [new / "pg", data, *data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    data.chmod(0o700)
    options = {
        "restore_command": f"cp {place}/archive/%f %p",
        "recovery_target_time": moment,
        "recovery_target_action": "promote",
    }
    return EmbeddedServers(
        EmbeddedSettings(new, pg_major=PG_MAJOR, valkey=False, pg_options=options)
    )
