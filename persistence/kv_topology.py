"""Where Redis is: one server, the primary that Sentinels name, or the nodes of a Cluster.

`redis://` `rediss://` `unix://`, `redis+sentinel://h:p,h:p/name/db`, `redis+cluster://h:p,h:p`;
with TLS `rediss+...`. Credentials in the URL are for the servers, not for the Sentinels.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis import exceptions as redis_errors
from redis.crc import key_slot

from persistence.kv_connections import Connections, connector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from persistence.kv_connections import Command

Address = tuple[str, int]
SLOTS_ASKED = ((b"CLUSTER", b"SLOTS"),)
SCRIPT_KEY, PLAIN_KEY = 3, 1  # Where the first key of EVAL and EVALSHA stands, and of the others.


def mode_of(url: str | None) -> str:
    """Return off, single, sentinel or cluster."""
    if url is None or url == "off":
        return "off"
    return urlsplit(url).scheme.partition("+")[2] or "single"


def connections_of(
    url: str | None, timeout_ms: int, connect_timeout_ms: int, ca_file: str | None = None
) -> Connections | ClusterConnections:
    """Return the connections to what the URL names; opens no socket."""
    to = partial(
        connector, timeout_ms=timeout_ms, connect_timeout_ms=connect_timeout_ms, ca_file=ca_file
    )
    mode = mode_of(url)
    if url is None or mode in {"off", "single"}:
        return Connections(to(url))
    credentials, addresses = _netloc(url)
    scheme = urlsplit(url).scheme.partition("+")[0]
    if mode == "cluster":
        return ClusterConnections(
            addresses, lambda at: Connections(to(_url(scheme, credentials, at)))
        )
    name, _, database = urlsplit(url).path.strip("/").partition("/")
    sentinels = Sentinels(name, [to(_url(scheme, "", at)) for at in addresses])
    return Connections(
        lambda: _following(to(_url(scheme, credentials, addresses[0], database))(), sentinels)
    )


def _netloc(url: str) -> tuple[str, list[Address]]:
    credentials, _, hosts = urlsplit(url).netloc.rpartition("@")
    pairs = (host.rpartition(":") for host in hosts.split(","))
    return credentials, [(host.strip("[]"), int(port)) for host, _, port in pairs]


def _url(scheme: str, credentials: str, at: Address, database: str = "") -> str:
    host = f"[{at[0]}]" if ":" in at[0] else at[0]
    before = f"{credentials}@" if credentials else ""
    return f"{scheme}://{before}{host}:{at[1]}/{database}"


# --- Sentinel -----------------------------------------------------------------------------------


class Sentinels:
    """Who knows which server is the primary now."""

    def __init__(self, name: str, connects: Iterable[Callable[[], Any]]) -> None:
        """`name` is what they call it."""
        self._name = name
        self._connects = list(connects)

    def primary(self) -> Address:
        """Ask one after the other, the one that last knew first. Raises ConnectionError."""
        for connect in list(self._connects):
            try:
                found = self._ask(connect())
            except redis_errors.RedisError:
                continue
            if found:
                self._connects.sort(key=lambda each, good=connect: each is not good)  # type: ignore[misc]
                return found[0].decode(), int(found[1])
        raise redis_errors.ConnectionError("No Sentinel names a primary")

    def _ask(self, connection: Any) -> Any:
        try:
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
            return connection.read_response()
        finally:
            connection.disconnect()


def _following(connection: Any, sentinels: Sentinels) -> Any:
    """Let the connection ask for the primary each time that it connects."""
    connect = connection._connect  # noqa: SLF001  # redis-py's own Sentinel client does the same.

    def to_primary() -> Any:
        connection.host, connection.port = sentinels.primary()
        return connect()

    connection._connect = to_primary  # noqa: SLF001
    return connection


# --- Cluster ------------------------------------------------------------------------------------


class ClusterConnections:
    """Connections to every node. All keys of a trip have one tag, so one node has them (OK8)."""

    def __init__(self, seeds: list[Address], connect: Callable[[Address], Connections]) -> None:
        """`seeds` are asked for the others; `connect` opens no socket."""
        self._connect = connect
        self._seeds = seeds
        self._nodes = {at: connect(at) for at in seeds}
        self._owners: list[tuple[int, int, Address]] = []
        self._learning = threading.Lock()

    def exchange(self, commands: tuple[Command, ...]) -> list[Any]:
        """Send the commands to the node of their slot, as Connections.exchange does.

        What has moved is sent again to where it is now, once.
        """
        slot = _slot(commands[0])
        replies = self._owner(slot).exchange(commands)
        moved = [i for i, r in enumerate(replies) if isinstance(r, redis_errors.MovedError)]
        if moved:
            self._learn()
            again = self._owner(slot).exchange(tuple(commands[i] for i in moved))
            for i, reply in zip(moved, again, strict=True):
                replies[i] = reply
        for reply in replies:
            if isinstance(reply, redis_errors.AskError):  # Moved too: between two nodes now.
                raise redis_errors.TryAgainError(str(reply))
        return replies

    def renew(self) -> None:
        """Let every thread connect anew, and learn anew who has which slot."""
        self._owners = []
        for node in list(self._nodes.values()):
            node.renew()

    def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        for node in list(self._nodes.values()):
            node.close()

    def _owner(self, slot: int) -> Connections:
        if not self._owners:
            self._learn()
        for first, last, at in self._owners:
            if first <= slot <= last:
                return self._nodes[at]
        raise redis_errors.ClusterDownError(f"nobody has slot {slot}")

    def _learn(self) -> None:
        """Ask any node who has which slots. Raises the last one's error."""
        with self._learning:
            error: redis_errors.RedisError = redis_errors.ClusterDownError("no node")
            for at in [*self._seeds, *self._nodes]:
                try:
                    (told,) = self._nodes[at].exchange(SLOTS_ASKED)
                except redis_errors.RedisError as failed:
                    error = failed
                    continue
                if isinstance(told, list) and told:
                    self._take(told, at)
                    return
            raise error

    def _take(self, told: list[Any], asked: Address) -> None:
        owners = []
        for first, last, (host, port, *_), *_ in told:
            # A node that does not know its own name means: the one that you asked.
            at = (host.decode() if host else asked[0], int(port))
            if at not in self._nodes:
                self._nodes[at] = self._connect(at)
            owners.append((int(first), int(last), at))
        self._owners = owners


def _slot(command: Command) -> int:
    is_script = command[0] in {b"EVAL", b"EVALSHA"}
    key = command[SCRIPT_KEY if is_script else PLAIN_KEY]
    return key_slot(key.encode() if isinstance(key, str) else bytes(key))
