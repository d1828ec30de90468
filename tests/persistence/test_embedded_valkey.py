"""The embedded Valkey: closed to others, forgetful, and back after every kind of death."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from persistence import embedded_valkey
from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_process import alive, free_port, spawn, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.embedded_valkey import Valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    """A started Valkey of the test's own."""
    with EmbeddedServers(EmbeddedSettings(tmp_path / "var", postgres=False)) as servers:
        assert servers.valkey
        yield servers.valkey


def start(server: Valkey) -> None:
    """Start the server as `make run` would."""
    with server.var.starting():
        server.start()


def test_without_the_password_nothing_is_answered(server: Valkey) -> None:
    """OE2: the port is open to everyone on this machine."""
    with (
        redis.Redis(port=server.fact["port"]) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_the_password_stands_in_closed_files_only(server: Valkey) -> None:
    """OE2: neither in arguments, which everyone can read, nor in the log."""
    password = server.var.secret("valkey")
    assert server.config.stat().st_mode & 0o777 == 0o600
    told = Path(f"/proc/{server.running()}/cmdline").read_text()
    assert password not in told + server.var.log("valkey").read_text()


def test_nothing_is_kept(server: Valkey) -> None:
    """OK1: PostgreSQL decides, so there is nothing to save."""
    with redis.Redis.from_url(server.url) as client:
        found = client.config_get("save", "appendonly", "maxmemory", "maxmemory-policy")
        client.set("x", "1")
    assert found == {
        "save": "",
        "appendonly": "no",
        "maxmemory": str(64 * 1024 * 1024),
        "maxmemory-policy": "allkeys-lru",
    }
    server.stop()
    start(server)
    with redis.Redis.from_url(server.url) as client:
        assert client.get("x") is None
    assert list(server.directory.iterdir()) == []


def test_a_taken_port_is_replaced_by_the_next(server: Valkey) -> None:
    """OE3."""
    before = server.fact["port"]
    server.stop()
    with socket.create_server(("127.0.0.1", before)):
        start(server)
        assert server.fact["port"] != before
        assert server.running()


def test_a_port_taken_at_the_last_moment_is_replaced_too(
    server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE3: free when it was asked, taken when it was bound."""
    server.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answers = iter([taken.getsockname()[1]])
        monkeypatch.setattr(
            embedded_valkey, "free_port", lambda *asked: next(answers, None) or free_port(*asked)
        )
        start(server)
        assert server.running()


def test_a_server_that_no_record_names_is_replaced(server: Valkey) -> None:
    """OE6: its starter was killed before it could write the process id down."""
    server.stop()
    command = server.var.owner.command([str(server.program), str(server.config)], [server.config])
    stray = spawn(command, server.var.log("valkey"))
    start(server)
    assert server.running() not in {None, stray}
    assert not alive(stray)


def test_a_hung_server_is_replaced(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """F7: a start does not wait for it for ever."""
    monkeypatch.setattr(embedded_valkey, "ANSWER_S", 0.1)
    hung = server.running()
    assert hung
    os.kill(hung, signal.SIGSTOP)
    monkeypatch.setattr(embedded_valkey, "STOP_S", 0.1)
    start(server)
    assert server.running() not in {None, hung}
    assert wait_until(lambda: not alive(hung), 5)


def test_the_wheel_of_another_platform_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """OE9: no Redis then, not a failed start."""
    assert embedded_valkey.binary() is not None
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert embedded_valkey.binary() is None
