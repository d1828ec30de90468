"""Connections to a store, kept while idle: threads share them, one at a time."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from legacy.store import LegacyError, LegacyUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Closes(Protocol):
    """What a connection is to this module."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closes)
# More than any process has threads and jobs: more are closed when they are given back.
IDLE_MAX = 32


class Connections(Generic[C]):
    """Opens a connection when none is idle; one that met an error is not used again."""

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._idle: deque[C] = deque()  # Its ends are safe to use from every thread.
        self._keeps = True

    @contextmanager
    def use(self) -> Iterator[C]:
        """Lend one. What the store refused leaves it usable, anything else does not."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        except LegacyUnavailable:
            connection.close()
            raise
        except LegacyError:
            self._give_back(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _give_back(self, connection: C) -> None:
        if self._keeps and len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle, and from now on what is given back; a later use opens its own."""
        self._keeps = False
        while self._idle:
            self._idle.pop().close()
