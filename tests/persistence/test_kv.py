"""Redis as a hint, against a real Valkey: killed, hung, full, read-only, flushed, not there."""

from __future__ import annotations

import functools
import signal
import socket
import socketserver
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis

import observability
from persistence.embedded_process import wait_until
from persistence.kv import VALUE_MAX_BYTES, Kv, KvDown, KvSettings, script
from tests.persistence import kv_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.persistence.kv_world import OwnValkey

KEY = "idem:{default/key:1}:abc"
FAST = KvSettings(breaker_open_ms=20, breaker_open_max_ms=40, ping_every_s=0.02)
# Open means open until the test ends, and no ping comes between: requests alone are seen.
# A busy machine may take longer than 50 ms to answer.
STILL = KvSettings(
    timeout_ms=250, breaker_open_ms=600_000, breaker_open_max_ms=600_000, ping_every_s=600
)


@pytest.fixture
def valkey(kv_url: str) -> Iterator[OwnValkey]:
    """Left out where there is no Redis, as every test that asks for `kv_url`."""
    yield from kv_world.running()


@pytest.fixture
def kv(valkey: OwnValkey) -> Iterator[Kv]:
    yield from opened(Kv(valkey.url, FAST))


@pytest.fixture
def still(valkey: OwnValkey) -> Iterator[Kv]:
    yield from opened(Kv(valkey.url, STILL))


def opened(kv: Kv) -> Iterator[Kv]:
    kv.open()
    assert kv.wait_for("closed", 30)
    yield kv
    kv.close()


def fault(kv: Kv) -> str:
    """Return why a call fails."""
    with pytest.raises(KvDown) as caught:
        kv.claim(KEY, b"token", 1000)
    return str(caught.value)


def count(use: str, outcome: str) -> float:
    return float(observability.kv_calls_total.labels(use, outcome)._value.get())


# --- What the calls do --------------------------------------------------------------------------


def test_the_first_claim_holds_the_mark_and_the_second_sees_it(kv: Kv) -> None:
    """OU1: one command each way, no read before it."""
    assert kv.claim(KEY, b"mine", 5000) is None
    assert kv.claim(KEY, b"yours", 5000) == b"mine"
    assert kv.get(KEY) == b"mine"


def test_a_mark_is_released_by_its_owner_only(kv: Kv) -> None:
    """AW7: compare-and-delete."""
    kv.claim(KEY, b"mine", 5000)
    kv.release(KEY, b"yours")
    assert kv.get(KEY) == b"mine"
    kv.release(KEY, b"mine")
    assert kv.get(KEY) is None


def test_a_release_after_the_copy_leaves_the_copy(kv: Kv) -> None:
    """AW7."""
    kv.claim(KEY, b"mine", 5000)
    kv.put(KEY, b"copy", 60)
    kv.release(KEY, b"mine")
    assert kv.claim(KEY, b"later", 5000) == b"copy"


def test_several_commands_are_one_trip_with_a_reply_each(kv: Kv) -> None:
    """OK6: an error is a value, told in the log; the others count."""
    wrong = (b"LPUSH", "k", b"x")
    done = kv.run("claim", ((b"SET", "k", b"v", b"PX", 1000), wrong, (b"GET", "k")))
    assert (done[0], done[2]) == (b"OK", b"v")
    assert isinstance(done[1], redis.ResponseError)


def test_a_script_is_sent_whole_only_where_the_server_lost_it(kv: Kv, valkey: OwnValkey) -> None:
    """OK6: NOSCRIPT comes back as a value; a second trip, once."""
    digest = script(b"return redis.call('INCR', KEYS[1])")
    for count in (1, 2):
        valkey.ask("SCRIPT", "FLUSH")
        calls = (kv.script_command(digest, ("n",)), (b"GET", "sr1:0:n"))
        assert kv.run("limit", calls)[0] == 2 * count - 1
        assert kv.run("limit", calls)[0] == 2 * count
    assert valkey.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 4


def test_calls_are_counted_within_a_window(kv: Kv, valkey: OwnValkey) -> None:
    """OK8: the first call sets the end, later ones leave it; what is given back counts no more."""
    assert kv.count("rl:{t/u}:ip", 60_000) == (1, 60_000)
    number, left_ms = kv.count("rl:{t/u}:ip", 60_000)
    assert (number, 0 < left_ms <= 60_000) == (2, True)
    kv.give_back("rl:{t/u}:ip")
    assert kv.count("rl:{t/u}:ip", 60_000)[0] == 2
    kv.give_back("rl:{t/nobody}:ip")
    assert kv.count("rl:{t/nobody}:ip", 60_000)[0] == 1
    assert valkey.ask("KEYS", "*rl:*") != []


def test_a_count_of_a_wrong_type_is_no_count(kv: Kv, valkey: OwnValkey) -> None:
    """KvDown: the database counts instead."""
    kv.count("rl:{t/u}:ip", 60_000)
    (key,) = valkey.ask("KEYS", "*rl:*")
    valkey.ask("DEL", key)
    valkey.ask("LPUSH", key, "x")
    with pytest.raises(KvDown):
        kv.count("rl:{t/u}:ip", 60_000)


def test_every_key_has_a_ttl(kv: Kv, valkey: OwnValkey) -> None:
    """OK8: the mark in milliseconds, the copy in seconds."""
    kv.claim(KEY, b"mine", 60_000)
    assert 50_000 < valkey.ask("PTTL", f"sr1:0:{KEY}") <= 60_000
    kv.put(KEY, b"copy", 600)
    assert 590 < valkey.ask("TTL", f"sr1:0:{KEY}") <= 600


def test_a_value_over_16_kib_is_not_written(kv: Kv) -> None:
    """OK8."""
    kv.put(KEY, bytes(VALUE_MAX_BYTES), 60)
    kv.put(KEY, bytes(VALUE_MAX_BYTES + 1), 60)
    assert kv.get(KEY) == bytes(VALUE_MAX_BYTES)


def test_a_copy_that_is_dead_already_is_not_written(kv: Kv) -> None:
    """OK8: a TTL of 0 would be an error reply, and its line in the log."""
    before = count("put", "error")
    kv.put(KEY, b"copy", 0)
    assert kv.get(KEY) is None
    assert count("put", "error") == before


def test_another_epoch_finds_nothing(valkey: OwnValkey) -> None:
    """OK7, F9: a restored database does not see the copies of the history it lost."""
    history = ["a"]
    settings = KvSettings(ping_every_s=0.01, epoch_every_s=0.01)
    for kv in opened(Kv(valkey.url, settings, epoch=lambda: history[0])):
        kv.put(KEY, b"copy", 60)
        assert kv.get(KEY) == b"copy"
        for now, found in (("b", None), ("a", b"copy")):
            history[0] = now
            assert wait_until(functools.partial(finds, kv, found), 30)


def finds(kv: Kv, value: bytes | None) -> bool:
    return kv.get(KEY) == value


def test_a_lost_database_lets_nothing_be_found_until_its_history_is_known(
    valkey: OwnValkey,
) -> None:
    """OK7, F9: the database behind the next connection may be a restored one."""
    history, known = ["a"], threading.Event()

    def epoch() -> str:
        assert known.wait(30)
        return history[0]

    known.set()
    for kv in opened(Kv(valkey.url, STILL, epoch=epoch)):
        kv.put(KEY, b"copy", 60)
        known.clear()
        history[0] = "b"
        kv.look_again()
        assert fault(kv) == "open"
        known.set()
        assert wait_until(functools.partial(serves, kv), 30)
        assert kv.get(KEY) is None


def serves(kv: Kv) -> bool:
    try:
        kv.get(KEY)
    except KvDown:
        return False
    return True


def test_an_unknown_epoch_keeps_redis_unused(valkey: OwnValkey) -> None:
    """OK7: nothing is read before it is known whose history it is."""
    known = threading.Event()

    def epoch() -> str:
        if not known.is_set():
            raise OSError("no database")
        return "1"

    kv = Kv(valkey.url, FAST, epoch=epoch)
    kv.open()
    assert not kv.wait_for("closed", 0.1)
    assert fault(kv) == "open"
    known.set()
    assert kv.wait_for("closed", 30)
    kv.close()


def test_a_wrong_type_is_a_miss_and_an_error_line(kv: Kv, valkey: OwnValkey) -> None:
    """OK2: rubbish planted by others is no fault of the server."""
    valkey.ask("RPUSH", f"sr1:0:{KEY}", "x")
    before = count("get", "error")
    assert kv.get(KEY) is None
    assert kv.claim(KEY, b"mine", 1000) is None
    assert count("get", "error") == before + 1
    assert kv.facts.failures == 0


def test_time_spent_is_kept_in_the_context(kv: Kv) -> None:
    """The canonical log line's kv_ms."""
    context = observability.begin(observability.Context())
    kv.get(KEY)
    assert context.kv_ms > 0


def test_flushed_keys_are_misses(kv: Kv, valkey: OwnValkey) -> None:
    """F8: data and scripts gone at any moment."""
    kv.claim(KEY, b"mine", 5000)
    valkey.ask("FLUSHALL")
    valkey.ask("SCRIPT", "FLUSH")
    assert kv.get(KEY) is None
    kv.release(KEY, b"mine")
    assert kv.claim(KEY, b"mine", 5000) is None


# --- Faults: who notices, what opens, what closes -----------------------------------------------


@pytest.mark.parametrize("url", [None, "off"])
def test_off_is_a_state_without_a_monitor(url: str | None) -> None:
    """OK9."""
    kv = Kv(url, FAST)
    kv.open()
    assert fault(kv) == "open"
    assert (kv.facts.mode, kv.facts.state) == ("off", "off")
    kv.close()


def test_an_absent_server_is_known_before_the_first_call(tmp_path: Path) -> None:
    """F6, OK4: the monitor has opened the breaker."""
    kv = Kv(f"unix://{tmp_path}/none.sock", STILL)
    kv.open()
    assert kv.wait_for("open", 30)
    assert fault(kv) == "open"
    assert kv.facts.retry_in_ms > 0
    kv.close()


def test_the_first_call_starts_the_monitor(valkey: OwnValkey) -> None:
    """AC6 for Redis: at first use, if nobody opened it after the fork."""
    kv = Kv(valkey.url, FAST)
    assert fault(kv) == "open"
    assert kv.wait_for("closed", 30)
    kv.close()


def test_a_closed_store_stays_closed(kv: Kv) -> None:
    kv.close()
    assert fault(kv) == "open"
    assert not kv.wait_for("closed", 0.1)


def test_a_killed_server_opens_after_three_failures(still: Kv, valkey: OwnValkey) -> None:
    """OK3."""
    valkey.send(signal.SIGKILL)
    assert [fault(still) for _ in range(5)] == ["connection"] * 3 + ["open"] * 2


@pytest.mark.parametrize("threads", [1, 8])
def test_a_hung_server_is_asked_by_2_and_threads_calls_and_then_by_none(
    still: Kv, valkey: OwnValkey, threads: int
) -> None:
    """F7, LV3, OK5: of 20 in each thread. Afterwards the server itself says who asked."""
    together = threading.Barrier(threads)

    def ask(_: int) -> list[str]:
        together.wait(30)
        return [fault(still) for _ in range(20)]

    before = valkey.calls("set")
    valkey.send(signal.SIGSTOP)
    with ThreadPoolExecutor(threads) as pool:
        causes = Counter(cause for told in pool.map(ask, range(threads)) for cause in told)
    valkey.send(signal.SIGCONT)
    assert 3 <= causes["timeout"] <= 2 + threads
    assert causes["open"] == 20 * threads - causes["timeout"]
    # One call is one command, sent once: nobody waited for the timeout twice.
    assert wait_until(lambda: valkey.calls("set") - before == causes["timeout"], 30)


def test_success_between_failures_keeps_it_closed(still: Kv, valkey: OwnValkey) -> None:
    """OK3: three in a row, not three in all."""
    for _ in range(3):
        valkey.ask("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        assert [fault(still), fault(still)] == ["oom", "oom"]
        valkey.ask("CONFIG", "SET", "maxmemory", "0")
        assert still.get(KEY) is None
    assert still.facts.state == "closed"


def test_an_open_breaker_touches_no_socket(still: Kv, valkey: OwnValkey) -> None:
    """OK3: whoever listens there now hears nothing."""
    valkey.send(signal.SIGKILL)
    for _ in range(3):
        fault(still)
    valkey.socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(valkey.socket))
        listener.listen()
        listener.setblocking(False)
        assert {fault(still) for _ in range(20)} == {"open"}
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_idle_process_notices_and_recovers_by_its_monitor_alone(
    kv: Kv, valkey: OwnValkey
) -> None:
    """OK4: no call is made here."""
    valkey.send(signal.SIGKILL)
    assert kv.wait_for("open", 30)
    valkey.start()
    assert kv.wait_for("closed", 30)
    assert kv.claim(KEY, b"mine", 1000) is None


def test_a_hung_server_is_used_again_when_it_goes_on(kv: Kv, valkey: OwnValkey) -> None:
    """F7."""
    valkey.send(signal.SIGSTOP)
    assert kv.wait_for("open", 30)
    valkey.send(signal.SIGCONT)
    assert kv.wait_for("closed", 30)
    assert kv.get(KEY) is None


def test_every_thread_connects_anew_after_a_restart(kv: Kv, valkey: OwnValkey) -> None:
    """OK4: their old connections are no fault of the new server."""
    together = threading.Barrier(4)

    def call(_: int) -> bytes | None:
        together.wait(30)
        return kv.get(KEY)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(call, range(4))) == [None] * 4
        valkey.send(signal.SIGKILL)
        assert kv.wait_for("open", 30)
        valkey.start()
        assert kv.wait_for("closed", 30)
        assert list(threads.map(call, range(4))) == [None] * 4


def test_a_silent_restart_is_no_failure(still: Kv, valkey: OwnValkey) -> None:
    """An idle connection is looked at before it is used again."""
    still.get(KEY)
    held: Any = still._connections
    held._held.used_at -= 2
    valkey.send(signal.SIGTERM)
    valkey.start()
    assert still.get(KEY) is None


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction"), "oom"),
        (("REPLICAOF", "127.0.0.1", "1"), "readonly"),
    ],
)
def test_a_server_that_cannot_write_opens_the_breaker(
    kv: Kv, valkey: OwnValkey, command: tuple[str, ...], cause: str
) -> None:
    """OK2, F8: the error replies come as values (OK6), the monitor's probe finds them too."""
    before = observability.kv_breaker_opened_total.labels(cause)._value.get()
    valkey.ask(*command)
    assert kv.wait_for("open", 30)
    assert observability.kv_breaker_opened_total.labels(cause)._value.get() == before + 1
    valkey.ask("CONFIG", "SET", "maxmemory", "0")
    valkey.ask("REPLICAOF", "NO", "ONE")
    assert kv.wait_for("closed", 30)


def test_a_server_that_forbids_a_command_is_not_used(kv: Kv, valkey: OwnValkey) -> None:
    """OK4: the probe sends what requests send, and wants every reply good."""
    valkey.ask("ACL", "SETUSER", "default", "-eval")
    assert kv.wait_for("open", 30)
    valkey.ask("ACL", "SETUSER", "default", "+eval")
    assert kv.wait_for("closed", 30)


def test_a_stale_replica_that_refuses_reads_counts(still: Kv, valkey: OwnValkey) -> None:
    """OK2: MASTERDOWN."""
    valkey.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    valkey.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(KvDown, match="cluster"):
        still.get(KEY)
    assert still.facts.failures == 1


def test_a_loading_server_is_waited_for(kv: Kv, valkey: OwnValkey) -> None:
    """OK2: LOADING, from a dump that takes long to read."""
    with redis.Redis(unix_socket_path=str(valkey.socket)) as client:
        client.mset({f"k{number}": "x" * 100 for number in range(500)})
        client.save()
    valkey.send(signal.SIGKILL)
    assert kv.wait_for("open", 30)
    slow = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    valkey.start(*slow, ready=False)
    assert wait_until(lambda: kv._breaker.cause == "loading", 30)
    assert kv.wait_for("closed", 30)


def test_wrong_credentials_open_the_breaker(valkey: OwnValkey) -> None:
    """OK2: NOAUTH."""
    valkey.ask("CONFIG", "SET", "requirepass", "secret")
    kv = Kv(valkey.url, FAST)
    kv.open()
    assert kv.wait_for("open", 30)
    kv.close()
    assert kv._breaker.cause == "authentication"
    for trusted in opened(Kv(f"{valkey.url}?password=secret", FAST)):
        assert trusted.get(KEY) is None


class SpeaksHttp(socketserver.StreamRequestHandler):
    """Answers whatever it hears."""

    def handle(self) -> None:
        while self.request.recv(4096):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_another_service_on_its_port_opens_the_breaker(tmp_path: Path) -> None:
    """F6: it answers, but not in the protocol."""
    path = str(tmp_path / "other.sock")
    with socketserver.UnixStreamServer(path, SpeaksHttp) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        kv = Kv(f"unix://{path}", FAST)
        kv.open()
        assert kv.wait_for("open", 30)
        assert kv._breaker.cause == "protocol"
        kv.close()
        server.shutdown()


def test_eight_threads_wait_at_the_same_time(valkey: OwnValkey) -> None:
    """OK1, decision 9: no lock is held during a call. The server itself counts who waits."""
    kv = Kv(valkey.url, KvSettings(timeout_ms=20_000, ping_every_s=600))
    kv.open()
    assert kv.wait_for("closed", 30)
    valkey.ask("CLIENT", "PAUSE", "60000", "WRITE")
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(kv.claim, f"{KEY}{i}", b"t", 1000) for i in range(8)]
        assert wait_until(lambda: valkey.ask("INFO", "clients")["blocked_clients"] == 8, 30)
        valkey.ask("CLIENT", "UNPAUSE")
        assert [call.result() for call in calls] == [None] * 8
    kv.close()
