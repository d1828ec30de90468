"""Processes of the embedded servers: whose they are, whether they live, what is kept of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from persistence import embedded_process
from persistence.embedded_process import (
    EmbeddedError,
    Owner,
    alive,
    free_port,
    require_free,
    rotate,
    wait_until,
)


def test_as_root_servers_belong_to_nobody_or_to_the_owner_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE7: of what does not exist yet, the nearest directory that does."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = tmp_path.stat()
    expected = found.st_uid or 65534
    assert Owner.of(tmp_path / "not" / "there").uid == expected


def test_as_an_ordinary_user_servers_are_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE7: nothing is changed, no setpriv is needed."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    owner = Owner.of(tmp_path)
    assert owner.uid == 1234
    assert owner.command(["postgres"], [tmp_path]) == ["postgres"]


def test_root_without_setpriv_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """OE7: never as root after all."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(EmbeddedError, match=r"util-linux.*DATABASE_URL"):
        Owner(65534, 65534).command(["postgres"], [])


def test_the_capability_is_given_below_closed_directories_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE7: as little as possible."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/setpriv")
    (tmp_path / "closed").mkdir(mode=0o700)
    stranger = Owner(54321, 54321)
    inside = stranger.command(["postgres"], [tmp_path / "closed" / "data"])
    outside = stranger.command(["postgres"], [Path("/usr/bin/env")])
    assert any("dac_override" in part for part in inside)
    assert not any("dac_override" in part for part in outside)


def test_a_dead_child_that_nobody_reaped_is_not_alive() -> None:
    """OE6: a hung parent's child stays in the process table."""
    hung = "import os, time; print(os.fork() or os._exit(0), flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", hung], stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert wait_until(lambda: not alive(child), 5)
    assert psutil.pid_exists(child)
    parent.kill()
    parent.communicate()


def test_the_first_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """OE3."""
    taken = {7001, 7002}
    monkeypatch.setattr(embedded_process, "port_is_free", lambda port: port not in taken)
    assert free_port(7001, None) == 7003
    assert free_port(7001, 7005) == 7005
    assert free_port(7001, 7002) == 7003


def test_no_free_port_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """OE3: a limit on everything."""
    monkeypatch.setattr(embedded_process, "port_is_free", lambda _: False)
    with pytest.raises(EmbeddedError, match="from 7001 to 8000"):
        free_port(7001, None)


def test_a_taken_http_port_is_refused() -> None:
    """OE3: the sentence names what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=rf"{port} .* taken.*PORT={port + 1}.*BIND"):
            require_free(f"127.0.0.1:{port}")
    require_free(f"127.0.0.1:{port}")
    require_free("unix:/tmp/strongroom.sock")


def test_logs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's open file goes on; three old ones are kept."""
    monkeypatch.setattr(embedded_process, "LOG_MAX_BYTES", 4)
    log = tmp_path / "postgres.log"
    with log.open("a") as server:
        for text in ("one\n", "two\n", "three\n", "four\n", "five\n"):
            server.write(text)
            server.flush()
            rotate(log)
        server.write("6")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {
        "postgres.log": "6",
        "postgres.log.1": "five\n",
        "postgres.log.2": "four\n",
        "postgres.log.3": "three\n",
    }
