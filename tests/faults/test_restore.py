"""The runbooks of docs/operations.md, run as they stand there; a restore to a moment, proved."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_postgres import SUPERUSER, binaries
from persistence.embedded_process import wait_until
from persistence.kv import KvDown
from persistence.migrator import MigrationSettings, apply_all
from tests.conftest import PG_MAJOR
from tests.contract.tree import text
from tests.world import World, new_key

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
    archived: EmbeddedServers, kv_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OD4: everything up to the moment and nothing after it. F9, OK7: nothing of Redis' lost past.

    The service is not restarted, and Redis keeps the answers of what the restore has undone.
    """
    world = _live(archived, kv_url, tmp_path / "app")
    kept = [_paid(world) for _ in range(3)]
    _back_up(archived, tmp_path / "backup")
    kept += [_paid(world) for _ in range(3)]
    ((moment,),) = world.rows("SELECT now()::text")
    lost = [_paid(world) for _ in range(2)]
    _archive_all(archived, tmp_path / "archive")
    began = time.monotonic()
    _put_back(archived, tmp_path, moment)
    assert wait_until(lambda: world.rows("SELECT pg_is_in_recovery()") == [(False,)], 60)
    took_s = time.monotonic() - began
    assert {str(row[0]) for row in world.rows("SELECT id FROM payments")} == {i for _, i in kept}
    _assert_nothing_old_wins(world, kept, lost)
    world.close()
    assert failures(archived, tmp_path / "proved", "Restore", monkeypatch) == []
    sys.stderr.write(f"restored in {took_s:.1f} s, to {moment}\n")


def _live(servers: EmbeddedServers, kv_url: str, var_dir: Path) -> World:
    """The service with Redis; a busy machine must not trip the breaker."""
    world = World(servers.database_url or "", var_dir, kv_url, REDIS_TIMEOUT_MS="5000")
    world.services.kv.open()
    assert world.services.kv.wait_for("closed", 30)
    return world


def _paid(world: World, key: str | None = None) -> tuple[str, str]:
    """Create a payment, or ask again for it; returns key and id."""
    key = key or new_key()
    body = {"amount_minor": 900, "currency": "EUR", "user_id": world.user_id}
    answer = world.post("/v1/payments", body, key=key)
    assert answer.status_code == 201, answer.json
    return key, answer.json["id"]


def _assert_nothing_old_wins(
    world: World, kept: list[tuple[str, str]], lost: list[tuple[str, str]]
) -> None:
    """What is there is answered again; what is not happens anew, with Redis away and back."""
    for key, old_id in lost:
        _, new_id = _paid(world, key)
        assert new_id != old_id
        assert world.read(new_id)["id"] == new_id
        assert wait_until(lambda: _serves(world), 30)
    assert [_paid(world, key) for key, _ in kept] == kept


def _serves(world: World) -> bool:
    """Redis is in use: it has been learnt whose history the database holds."""
    try:
        world.services.kv.get("nothing")
    except KvDown:
        return False
    return True


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


def _put_back(servers: EmbeddedServers, place: Path, moment: str) -> None:
    """Put the backup where the data was, and let it recover to the moment."""
    assert servers.postgres is not None
    servers.postgres.stop()
    data = servers.postgres.data
    owner = data.stat()
    data.rename(place / "lost")
    shutil.copytree(place / "backup", data)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"restore_command = 'cp {place}/archive/%f %p'\n"
            f"recovery_target_time = '{moment}'\n"
            "recovery_target_action = promote\n"
        )
    for path in [data, *data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    data.chmod(0o700)
    servers.ensure()
