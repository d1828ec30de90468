"""`flask serve`, as `make run` starts it: whole processes, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_process import alive, port_is_free, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PG_MAJOR = os.environ.get("TEST_PG_MAJOR", "18")
START_S = 150.0
# What is said when all else is said: the example's last line, or where the key is.
LAST_WORDS = re.compile(r"^send .*:available/balance$|^API keys: ")


class Served:
    """A running `flask serve` on a free port; `said` is all that it has printed."""

    def __init__(self, var_dir: Path, port: int | None = None) -> None:
        self.var_dir = var_dir
        self.port = port or free_port()
        self.said = ""
        self._is_ready = threading.Event()
        environment = {
            "PATH": os.environ["PATH"],
            "VAR_DIR": str(var_dir),
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "1",
            "EMBEDDED_PG_MAJOR": PG_MAJOR,
            "FEATURE_LEDGER_ENABLED": "true",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands.serve"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if LAST_WORDS.search(line):
                self._is_ready.set()
        self._is_ready.set()

    def until_ready(self) -> Served:
        """Wait until it says that it answers."""
        assert self._is_ready.wait(START_S), self.said
        assert self.process.poll() is None, self.said
        return self

    def get(self, path: str) -> int:
        """Return the status of `path`; 0 if nobody answers."""
        conn = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            conn.request("GET", path)
            return conn.getresponse().status
        except OSError:
            return 0
        finally:
            conn.close()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send the signal to the process group, as a terminal does; return the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        code = self.process.wait(60)
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        return code

    def postgres(self) -> int | None:
        """Return the process id of its PostgreSQL, None if that does not run."""
        servers = EmbeddedServers(EmbeddedSettings(self.var_dir, pg_major=int(PG_MAJOR)))
        pid: int | None = servers.status()["servers"]["postgres"]["pid"]
        return pid


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def served(made_var_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A `flask serve` that answers, for all who leave it so; stopped afterwards."""
    path = tmp_path_factory.mktemp("served") / "var"
    subprocess.run(["cp", "-a", str(made_var_dir), str(path)], check=True)
    running = Served(path)
    yield running.until_ready()
    running.end()
    EmbeddedServers(EmbeddedSettings(path)).reset()


@pytest.fixture
def own_served(var_dir: Path) -> Iterator[Served]:
    """One that the test may end."""
    running = Served(var_dir)
    yield running.until_ready()
    running.end()


def test_the_first_start_makes_a_demo_that_works(served: Served) -> None:
    """The README's lines: create, capture, read, balance."""
    kept = served.var_dir / "demo.json"
    demo = json.loads(kept.read_text())
    assert kept.stat().st_mode & 0o777 == 0o600
    assert demo["url"] == f"http://127.0.0.1:{served.port}"
    assert set(demo) == {"url", "api_key", "user_id"}
    lines = served.said[served.said.index("KEY=") : served.said.index(":available/balance") + 18]
    told = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, check=True)
    created, captured, read, balance = map(json.loads, told.stdout.split("\n")[:4])
    assert (created["status"], captured["status"], read["status"]) == (
        "created",
        "captured",
        "captured",
    )
    assert balance["posted_minor"] == 2500


def test_a_worker_has_hashed_before_its_first_request(served: Served) -> None:
    """A25: or its first log-in would take longer than the next, and tell an unknown address."""
    demo = json.loads((served.var_dir / "demo.json").read_text())
    conn = HTTPConnection("127.0.0.1", served.port, timeout=10)
    conn.request("GET", "/metrics", headers={"Authorization": f"Bearer {demo['api_key']}"})
    told = conn.getresponse().read()
    conn.close()
    assert b"strongroom_argon2_wait_seconds_count 1.0\n" in told


def test_a_taken_port_is_one_sentence_that_says_what_to_do(served: Served, tmp_path: Path) -> None:
    """OE3: the HTTP port is fixed."""
    second = Served(tmp_path / "other", served.port)
    assert second.end(signal.SIGCONT) == 2
    assert re.fullmatch(
        rf"Port {served.port} of 127.0.0.1 is taken: .*PORT=.*BIND.*\n", second.said
    )
    assert served.get("/livez") == 200


def test_a_killed_postgresql_is_back_at_once(served: Served) -> None:
    """F1: the application is not restarted."""
    server = served.postgres()
    assert server
    os.kill(server, signal.SIGKILL)
    assert wait_until(lambda: served.postgres() not in {None, server}, 60)
    assert wait_until(lambda: served.get("/readyz") == 200, 60)


def test_ctrl_c_stops_everything_it_started_and_a_later_start_keeps_the_demo(
    own_served: Served,
) -> None:
    """OE8; data stays, and of the demo only the address follows the port."""
    server = own_served.postgres()
    assert server
    before = json.loads((own_served.var_dir / "demo.json").read_text())
    assert own_served.end() == 0
    assert not alive(server)
    assert own_served.get("/livez") == 0
    again = Served(own_served.var_dir).until_ready()
    again.end()
    after = json.loads((own_served.var_dir / "demo.json").read_text())
    assert after == {**before, "url": f"http://127.0.0.1:{again.port}"}
    assert "KEY=" not in again.said


def test_after_a_kill_of_all_the_next_start_recovers(own_served: Served) -> None:
    """OE6."""
    server = own_served.postgres()
    assert server
    for process in psutil.Process(own_served.process.pid).children(recursive=True):
        process.kill()
    own_served.end(signal.SIGKILL)
    assert wait_until(lambda: port_is_free(own_served.port), 60)
    assert not alive(server)
    again = Served(own_served.var_dir, own_served.port).until_ready()
    assert again.get("/readyz") == 200
    assert again.end(signal.SIGTERM) == 0
