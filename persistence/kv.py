"""Redis or Valkey, the hint: every call is bounded, and raises KvDown and nothing else.

Rules OK1 to OK9 of the operations page.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pybreaker
from redis import exceptions as redis_errors

from observability import current, kv_call_duration_seconds, kv_calls_total, log
from persistence.kv_breaker import Breaker, cause_of
from persistence.kv_topology import connections_of, mode_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.kv_connections import Command

VALUE_MAX_BYTES = 16_384
PROBES_TO_CLOSE = 2
# A fixed window that begins with its first call; the count and what is left of it, in ms.
COUNT = (
    b"local n=redis.call('INCR',KEYS[1]) local left=redis.call('PTTL',KEYS[1]) "
    b"if left<0 then redis.call('PEXPIRE',KEYS[1],ARGV[1]) left=ARGV[1] end return n..':'..left"
)
GIVE_BACK = (
    b"local n=tonumber(redis.call('GET',KEYS[1]) or 0) "
    b"return n>0 and redis.call('DECR',KEYS[1]) or 0"
)
FAILURES = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)
# A mark may be released by its owner only: another's, or the copy, stays.
RELEASE = b"return redis.call('GET',KEYS[1])==ARGV[1] and redis.call('DEL',KEYS[1]) or 0"
_counter = functools.cache(kv_calls_total.labels)  # A look-up by labels costs 1 us more.
_timer = functools.cache(kv_call_duration_seconds.labels)
_scripts: dict[bytes, bytes] = {}  # By the digest that the server knows them by.


def script(text: bytes) -> bytes:
    """Make a Lua script known; returns the digest that EVALSHA commands name it by."""
    digest = hashlib.sha1(text).hexdigest().encode()  # noqa: S324  # Redis' name for it.
    _scripts[digest] = text
    return digest


def _with_text(command: Command) -> Command:
    """Return an EVALSHA as the EVAL that also makes the server know the script."""
    _, digest, *rest = command
    return (b"EVAL", _scripts[digest], *rest)  # type: ignore[index]  # Bytes, see `script`.


class KvDown(Exception):
    """Redis is away, slow or off: go on without it."""


@dataclass(frozen=True, slots=True)
class KvSettings:
    """Limits of the client, the breaker and its monitor."""

    timeout_ms: int = 50
    connect_timeout_ms: int = 50
    breaker_failures: int = 3
    breaker_open_ms: int = 500
    breaker_open_max_ms: int = 30_000
    ping_every_s: float = 1.0
    ca_file: str | None = None
    epoch_every_s: float = 5.0


@dataclass(frozen=True, slots=True)
class KvFacts:
    """What health tells: `latency_ms` of the last good probe, None if there was none."""

    mode: str
    state: str
    failures: int
    retry_in_ms: int
    latency_ms: float | None


class Kv:
    """The key-value store of a process, behind its breaker.

    A key is given without its head `sr1:<epoch>:`, that is from `<use>:{<tenant_id>/<subject>}:`
    on (OK7). Every call is one round trip, raises KvDown, and costs nothing while the breaker is
    open or Redis is off.
    """

    def __init__(
        self,
        url: str | None,
        settings: KvSettings | None = None,
        *,
        epoch: Callable[[], str] = lambda: "0",
    ) -> None:
        """`url`: see persistence.kv_topology; None or "off": there is no Redis.

        Opens no socket. `epoch()` names the database's history. It may ask the database: only the
        monitor calls it, and what it raises means "as before".
        """
        self._settings = settings = settings or KvSettings()
        self.mode = mode_of(url)
        self._connections = connections_of(
            url, settings.timeout_ms, settings.connect_timeout_ms, settings.ca_file
        )
        self._epoch, self._epoch_due, self._head = epoch, 0.0, ""
        self._latency_ms: float | None = None
        self._monitor: threading.Thread | None = None
        self._opening, self._stopped = threading.Lock(), False
        self._wake = threading.Event()
        self._breaker = Breaker(
            settings.breaker_failures,
            settings.breaker_open_ms,
            settings.breaker_open_max_ms,
            woken=self._wake.set,
        )

    def claim(self, key: str, token: bytes, ttl_ms: int) -> bytes | None:
        """Set the mark `token` if nothing is there: None, else what is: a mark or a copy."""
        return self._one("claim", self.claim_command(key, token, ttl_ms))

    def claim_command(self, key: str, token: bytes, ttl_ms: int) -> Command:
        """Return what `claim` sends, for a trip with others."""
        return (b"SET", self._head + key, token, b"NX", b"GET", b"PX", ttl_ms)

    def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        return self._one("get", self.get_command(key))

    def get_command(self, key: str) -> Command:
        """Return what `get` sends, for a trip with others."""
        return (b"GET", self._head + key)

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Store the value over what is there. One over 16 KiB, or dead already, is not kept."""
        if len(value) <= VALUE_MAX_BYTES and ttl_s > 0:
            self._one("put", (b"SET", self._head + key, value, b"EX", ttl_s))

    def release(self, key: str, token: bytes) -> None:
        """Take the mark away if it still is `token`."""
        self._one("release", (b"EVAL", RELEASE, 1, self._head + key, token))

    def count(self, key: str, window_ms: int) -> tuple[int, int]:
        """Count a call: how many stand in the window with it, and for how many ms it lasts."""
        reply = self._one("count", (b"EVAL", COUNT, 1, self._head + key, window_ms))
        if reply is None:
            raise KvDown("error")
        number, _, left_ms = reply.partition(b":")
        return int(number), int(left_ms)

    def give_back(self, key: str) -> None:
        """Take one counted call back; a window that has passed stays passed."""
        self._one("give_back", self.give_back_command(key))

    def give_back_command(self, key: str) -> Command:
        """Return what `give_back` sends, for a trip with others."""
        return (b"EVAL", GIVE_BACK, 1, self._head + key)

    def script_command(self, digest: bytes, keys: tuple[str, ...], *arguments: int) -> Command:
        """Return a call of a script that `script` has made known."""
        return (b"EVALSHA", digest, len(keys), *(self._head + key for key in keys), *arguments)

    def run(self, use: str, commands: tuple[Command, ...]) -> list[Any]:
        """Send the commands in one trip; a reply is what Redis said, or the error, told in the log.

        A script that the server has lost (SCRIPT FLUSH, another server) costs a second trip, once.
        """
        started, outcome = time.perf_counter(), "down"
        try:
            if not self._head:
                raise pybreaker.CircuitBreakerError  # noqa: TRY301  # As if it were open.
            replies: list[Any] = self._breaker.call(self._exchange, commands)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            outcome = "error" if errors else "ok"
        except pybreaker.CircuitBreakerError as error:
            outcome = "open"
            if self._monitor is None or not self._monitor.is_alive():
                self.open()
            raise KvDown("open") from error
        except FAILURES as error:
            raise KvDown(cause_of(error)) from error
        finally:
            took_s = time.perf_counter() - started
            context = current()
            context.kv_ms += took_s * 1000
            context.note(f"redis {use}", took_s)
            if outcome != "open":
                _timer(use).observe(took_s)
            _counter(use, outcome).inc()
        for said in errors:  # Such as WRONGTYPE: somebody else writes here.
            log.error("kv.error", use=use, error=str(said))
        return replies

    def _exchange(self, commands: tuple[Command, ...]) -> list[Any]:
        replies = self._connections.exchange(commands)
        lost = [i for i, r in enumerate(replies) if isinstance(r, redis_errors.NoScriptError)]
        if lost:
            again = tuple(_with_text(commands[i]) for i in lost)
            for i, reply in zip(lost, self._connections.exchange(again), strict=True):
                replies[i] = reply
        return replies

    def _one(self, use: str, command: Command) -> bytes | None:
        (reply,) = self.run(use, (command,))
        return reply if isinstance(reply, bytes) else None

    # --- Life -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the monitor, which connects. After the fork, or at the first call; no waiting."""
        with self._opening:
            running = self._monitor is not None and self._monitor.is_alive()
            if self.mode != "off" and not running and not self._stopped:
                self._monitor = threading.Thread(target=self._watch, name="kv", daemon=True)
                self._monitor.start()

    def close(self) -> None:
        """Stop the monitor and close the connections, for good."""
        with self._opening:
            self._stopped = True
        self._wake.set()
        if self._monitor:
            self._monitor.join()
        self._breaker.half_open()
        self._connections.close()

    def look_again(self) -> None:
        """Find nothing until the monitor has asked the database whose history it holds now."""
        self._head, self._epoch_due = "", 0.0
        self._wake.set()

    def wait_for(self, state: str, timeout_s: float) -> bool:
        """Wait until the breaker is `closed` or `open`; False when the time has passed."""
        return self._breaker.wait_for(state, timeout_s)

    @property
    def state(self) -> str:
        """`off`, `closed` (it serves), `open` or `half-open` (it does not)."""
        return "off" if self.mode == "off" else str(self._breaker.current_state)

    @property
    def facts(self) -> KvFacts:
        """The state of now, for /readyz and /healthz."""
        breaker = self._breaker
        left_ms = round(breaker.left_s() * 1000)
        return KvFacts(self.mode, self.state, breaker.fail_counter, left_ms, self._latency_ms)

    # --- The monitor: the only one who probes (OK4) ---------------------------------------------

    def _watch(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self._wake.wait(self._look())

    def _look(self) -> float:
        """Ping or probe if it is time; return the seconds until the next look."""
        if self._breaker.current_state == pybreaker.STATE_CLOSED:
            self._read_epoch()
            with contextlib.suppress(pybreaker.CircuitBreakerError, *FAILURES):
                self._breaker.call(self._probe)
            return self._settings.ping_every_s
        left_s = self._breaker.left_s()
        return left_s or self._try_to_close()

    def _try_to_close(self) -> float:
        self._breaker.half_open()
        self._epoch_due = 0.0
        if not self._read_epoch():
            return self._settings.ping_every_s
        self._connections.renew()
        try:
            for _ in range(PROBES_TO_CLOSE):
                self._probe()
        except FAILURES as error:
            self._breaker.trip(cause_of(error))
            return self._breaker.left_s()
        self._breaker.mend()
        return self._settings.ping_every_s

    def _probe(self) -> None:
        """What requests send, on a key of its own: it finds READONLY and OOM too, PING does not."""
        token = secrets.token_hex(8).encode()
        key, started = f"sr1:probe:{token.decode()}", time.perf_counter()
        mark = (b"SET", key, token, b"NX", b"GET", b"PX", 1000)
        for reply in self._connections.exchange((mark, (b"EVAL", RELEASE, 1, key, token))):
            if isinstance(reply, Exception):
                raise reply
        self._latency_ms = round((time.perf_counter() - started) * 1000, 3)

    def _read_epoch(self) -> bool:
        """Name the keys by the database's history of now; False as long as none is known."""
        now = time.monotonic()
        if now >= self._epoch_due:
            due = self._epoch_due = now + self._settings.epoch_every_s
            try:
                head = f"sr1:{self._epoch()}:"
            except Exception as error:  # noqa: BLE001  # The database is away: its own log says so.
                self._epoch_due = 0.0
                log.debug("kv.epoch_unknown", error=type(error).__name__)
            else:
                if self._epoch_due == due:  # Else `look_again` came meanwhile.
                    self._head = head
        return self._head != ""
