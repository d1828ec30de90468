"""Where Redis is: TLS, Sentinel and Cluster, with real servers."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis import exceptions as redis_errors

from persistence.embedded_process import wait_until
from persistence.embedded_valkey import binary
from persistence.kv import Kv, KvDown, KvSettings, script
from persistence.kv_topology import connections_of, mode_of
from tests.faults.service import free_port
from tests.persistence import kv_world
from tests.persistence.certificates import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.persistence.kv_world import OwnValkey

PATIENT_MS = 5000
PING = ((b"PING",),)


class Node:
    """A Valkey on a port of 127.0.0.1, with a folder of its own."""

    def __init__(self, *options: str, sentinel_of: int | None = None) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="node-"))
        config = self.directory / "node.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", 'save ""']
        if sentinel_of is not None:
            lines = [*lines[:3], f"sentinel monitor main 127.0.0.1 {sentinel_of} 1"]
        config.write_text("\n".join([*lines, *options]) + "\n")
        argv = [str(binary()), str(config), "--logfile", str(self.directory / "log")]
        self._process = subprocess.Popen([*argv, *(["--sentinel"] if sentinel_of else [])])
        assert wait_until(lambda: self.asked("PING"), 20)

    def asked(self, *command: Any) -> Any:
        """Send a command by a connection of its own; None: it does not answer."""
        with (
            contextlib.suppress(redis.ConnectionError),
            redis.Redis(port=self.port, protocol=2) as client,
        ):
            return client.execute_command(*command)
        return None

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def nodes(*made: Node) -> Iterator[tuple[Node, ...]]:
    try:
        yield made
    finally:
        for node in made:
            node.stop()


def opened(url: str, **more: Any) -> Kv:
    settings = KvSettings(timeout_ms=PATIENT_MS, connect_timeout_ms=PATIENT_MS, **more)
    kv = Kv(url, settings)
    kv.open()
    return kv


def test_a_url_names_its_mode() -> None:
    assert [mode_of(url) for url in (None, "off", "redis://h", "rediss+cluster://h:1")] == [
        "off",
        "off",
        "single",
        "cluster",
    ]


# --- Sentinel -----------------------------------------------------------------------------------


def test_sentinels_lead_to_the_primary_and_to_the_next_one(kv_url: str) -> None:
    """OK table: after a failover READONLY, or a lost connection, asks the Sentinels anew."""
    with nodes(Node(), Node()) as (one, two):
        two.asked("REPLICAOF", "127.0.0.1", one.port)
        with nodes(Node(sentinel_of=one.port)) as (sentinel,):
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/main/0"
            kv = opened(url, breaker_open_ms=20, breaker_open_max_ms=40, ping_every_s=0.02)
            assert kv.wait_for("closed", 20)
            kv.put("idem:{a}:k", b"first", 60)
            assert one.asked("GET", "sr1:0:idem:{a}:k") == b"first"
            assert wait_until(lambda: two.asked("GET", "sr1:0:idem:{a}:k") == b"first", 20)
            # What a failover does, without its wait for the old one to be missed.
            two.asked("REPLICAOF", "NO", "ONE")
            one.asked("REPLICAOF", "127.0.0.1", two.port)
            sentinel.asked("SENTINEL", "REMOVE", "main")
            sentinel.asked("SENTINEL", "MONITOR", "main", "127.0.0.1", two.port, 1)
            assert wait_until(lambda: _put(kv, b"second"), 20)
            assert two.asked("GET", "sr1:0:idem:{a}:k") == b"second"
            kv.close()


def _put(kv: Kv, value: bytes) -> bool:
    try:
        kv.put("idem:{a}:k", value, 60)
        return kv.get("idem:{a}:k") == value
    except KvDown:
        return False


def test_a_name_that_no_sentinel_knows_is_a_connection_error(kv_url: str) -> None:
    with nodes(Node()) as (one,), nodes(Node(sentinel_of=one.port)) as (sentinel,):
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/other"
        connections = connections_of(url, PATIENT_MS, PATIENT_MS)
        with pytest.raises(redis_errors.ConnectionError, match="No Sentinel"):
            connections.exchange(PING)
        connections.close()


# --- Cluster ------------------------------------------------------------------------------------


def in_cluster(bus: int) -> Node:
    """A node whose bus has a port of its own: 10000 above the other may not be one."""
    return Node("cluster-enabled yes", "cluster-node-timeout 60000", f"cluster-port {bus}")


@pytest.fixture
def cluster(kv_url: str) -> Iterator[tuple[Node, Node]]:
    """Two primaries with half of the slots each."""
    bus = free_port()
    with nodes(in_cluster(free_port()), in_cluster(bus)) as (one, two):
        one.asked("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        two.asked("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        one.asked("CLUSTER", "MEET", "127.0.0.1", two.port, bus)
        both = (one, two)
        assert wait_until(lambda: all(_knows_all(node) for node in both), 30)
        yield one, two


def _knows_all(node: Node) -> bool:
    info = node.asked("CLUSTER", "INFO").decode()
    return "cluster_state:ok" in info and "cluster_slots_assigned:16384" in info


def test_keys_go_to_their_nodes_and_one_trip_to_one(cluster: tuple[Node, Node]) -> None:
    """OK8: the tag keeps a subject in one slot; every subject finds its node."""
    one, two = cluster
    kv = opened(f"redis+cluster://127.0.0.1:{one.port}")
    assert kv.wait_for("closed", 20)
    count = script(b"return redis.call('INCR', KEYS[1])")
    for number in range(20):
        tag = f"{{default/key:{number}}}"
        calls = (
            kv.script_command(count, (f"rl:{tag}:w",)),
            kv.claim_command(f"idem:{tag}:k", b"mark", 60_000),
        )
        assert kv.run("claim", calls) == [1, None]
        assert kv.get(f"idem:{tag}:k") == b"mark"
    sizes = [node.asked("DBSIZE") for node in (one, two)]
    assert sum(sizes) == 40
    assert min(sizes) > 0
    assert kv.facts.mode == "cluster"
    kv.close()


def test_a_slot_that_moved_is_followed(cluster: tuple[Node, Node]) -> None:
    """MOVED costs a trip, no answer."""
    one, two = cluster
    kv = opened(f"redis+cluster://127.0.0.1:{one.port}")
    assert kv.wait_for("closed", 20)
    slot = one.asked("CLUSTER", "KEYSLOT", "{a}")
    old, new = (one, two) if slot < 8192 else (two, one)
    assert kv.claim("idem:{a}:k", b"mark", 60_000) is None
    old.asked("DEL", "sr1:0:idem:{a}:k")
    for node in (new, old):
        node.asked("CLUSTER", "SETSLOT", slot, "NODE", new.asked("CLUSTER", "MYID").decode())
    assert kv.claim("idem:{a}:k", b"again", 60_000) is None
    assert new.asked("GET", "sr1:0:idem:{a}:k") == b"again"
    kv.close()


def test_a_cluster_that_is_away_is_down(kv_url: str) -> None:
    connections = connections_of(f"redis+cluster://127.0.0.1:{free_port()}", 50, 50)
    with pytest.raises(redis_errors.ConnectionError):
        connections.exchange(((b"GET", b"k"),))
    connections.renew()
    connections.close()


# --- TLS ----------------------------------------------------------------------------------------


class TlsBefore:
    """A port of TLS before a server on a Unix socket."""

    def __init__(self, path: Path, certificate: Path) -> None:
        self._path = path
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._context = context
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(raw, server_side=True) as front,
        ):
            back = socket.socket(socket.AF_UNIX)
            back.connect(str(self._path))
            with back:
                threading.Thread(target=_pump, args=(back, front), daemon=True).start()
                _pump(front, back)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)


@pytest.fixture
def valkey(kv_url: str) -> Iterator[OwnValkey]:
    yield from kv_world.running()


def test_tls_is_spoken_to_a_server_that_proves_its_name(valkey: OwnValkey, tmp_path: Path) -> None:
    """OK8: REDIS_CA_FILE says who may sign."""
    certificate = make_certificate(tmp_path, "127.0.0.1")
    front = TlsBefore(valkey.socket, certificate)
    kv = opened(f"rediss://127.0.0.1:{front.port}", ca_file=str(certificate))
    assert kv.wait_for("closed", 20)
    kv.put("idem:{a}:k", b"v", 60)
    assert valkey.ask("GET", "sr1:0:idem:{a}:k") == b"v"
    kv.close()
    front.close()


@pytest.mark.parametrize("query", ["", "?ssl_cert_reqs=none&ssl_check_hostname=false"])
@pytest.mark.parametrize("wrong", ["another name", "another signer"])
def test_tls_to_another_is_refused_and_no_switch_turns_that_off(
    valkey: OwnValkey, tmp_path: Path, wrong: str, query: str
) -> None:
    """OK8."""
    certificate = make_certificate(
        tmp_path, "cache.example" if wrong == "another name" else "127.0.0.1"
    )
    (tmp_path / "other").mkdir()
    trusted = (
        certificate
        if wrong == "another name"
        else make_certificate(tmp_path / "other", "127.0.0.1")
    )
    front = TlsBefore(valkey.socket, certificate)
    url = f"rediss://127.0.0.1:{front.port}{query}"
    connections = connections_of(url, PATIENT_MS, PATIENT_MS, str(trusted))
    with pytest.raises(redis_errors.ConnectionError, match=r"(?i)certificate"):
        connections.exchange(PING)
    connections.close()
    front.close()
