"""One connection a thread: kept, dropped, bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from redis import exceptions as redis_errors

from persistence.kv_connections import Connections, connector
from tests.persistence import kv_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.persistence.kv_world import OwnValkey

PING = ((b"PING",),)


@pytest.fixture
def valkey(kv_url: str) -> Iterator[OwnValkey]:
    """Left out where there is no Redis, as every test that asks for `kv_url`."""
    yield from kv_world.running()


@pytest.fixture
def connections(valkey: OwnValkey) -> Iterator[Connections]:
    made = Connections(connector(valkey.url, 5000, 5000))
    yield made
    made.close()


def who(connections: Connections) -> int:
    """Return the server's number of this thread's connection."""
    (number,) = connections.exchange(((b"CLIENT", b"ID"),))
    assert isinstance(number, int)
    return number


def test_a_thread_keeps_its_connection(connections: Connections) -> None:
    assert who(connections) == who(connections)


def test_threads_have_one_each(connections: Connections) -> None:
    numbers = [who(connections)]
    thread = threading.Thread(target=lambda: numbers.append(who(connections)))
    thread.start()
    thread.join()
    assert numbers[0] != numbers[1]


def test_renewed_connections_are_new_at_the_next_call(connections: Connections) -> None:
    before = who(connections)
    connections.renew()
    after = who(connections)
    assert after != before
    assert who(connections) == after


def test_readonly_drops_every_connection(connections: Connections, valkey: OwnValkey) -> None:
    """OK2: an old primary would stay connected for ever."""
    before = who(connections)
    valkey.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(redis_errors.ReadOnlyError):
        connections.exchange(((b"SET", "k", b"v"),))
    assert who(connections) != before


def test_replies_of_several_commands_come_in_order_errors_among_them(
    connections: Connections,
) -> None:
    """OK6: one trip, every element for itself."""
    commands = ((b"SET", "k", b"v", b"PX", 1000), (b"LPUSH", "k", b"x"), (b"GET", "k"))
    done, wrong, value = connections.exchange(commands)
    assert (done, value) == (b"OK", b"v")
    assert isinstance(wrong, redis_errors.ResponseError)


def test_an_idle_connection_that_heard_something_is_not_trusted(
    connections: Connections,
) -> None:
    """A reply to nobody's question would be taken for the next answer."""
    before = who(connections)
    connections._held.connection.send_command("ECHO", "leftover")
    assert connections._held.connection.can_read(10)
    connections._held.used_at -= 2
    assert who(connections) != before


def test_an_idle_connection_that_lives_is_kept(connections: Connections) -> None:
    before = who(connections)
    connections._held.used_at -= 2
    assert who(connections) == before


def test_a_url_cannot_lift_the_limits(valkey: OwnValkey) -> None:
    """Decision 10: the limits are ours, whatever stands in the URL."""
    made = connector(f"{valkey.url}?socket_timeout=60&health_check_interval=5&protocol=3", 50, 40)()
    assert (made.socket_timeout, made.socket_connect_timeout) == (0.05, 0.04)
    assert (made.health_check_interval, made.protocol) == (0, 2)
    assert made.retry.get_retries() == 0


def test_connecting_costs_no_further_trip(valkey: OwnValkey) -> None:
    """OK5: at most connect plus read timeout; a handshake would add its own."""
    before = valkey.ask("INFO", "stats")["total_commands_processed"]
    Connections(connector(valkey.url, 5000, 5000)).exchange(PING)
    after = valkey.ask("INFO", "stats")["total_commands_processed"]
    own = valkey.ask("INFO", "stats")["total_commands_processed"] - after
    assert after - before == own + 1


def test_a_call_while_off_is_a_bug() -> None:
    with pytest.raises(redis_errors.ConnectionError, match="Bug"):
        Connections(connector("off", 50, 50)).exchange(PING)
