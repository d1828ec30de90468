"""Proxies before PostgreSQL: one that cuts at a given message, one that plays a pooler."""

from __future__ import annotations

import contextlib
import socket
from typing import Self

from tests.persistence.db_world import Proxy

CHUNK = 65536


class CuttingProxy(Proxy):
    """Cuts the first connection that sends a query with `text`, before or after it is done."""

    def __init__(self, url: str, text: bytes, *, forward: bool, then_refuse: bool = False) -> None:
        self._text: bytes | None = text
        self._forwards, self._then_refuse = forward, then_refuse
        self._deaf: list[socket.socket] = []
        super().__init__(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # It may refuse connections already.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                # The server has done it once it answers; the client never hears that.
                if source in self._deaf or (not is_answer and self._cuts(data, target)):
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _cuts(self, data: bytes, server: socket.socket) -> bool:
        if self._text is None or self._text not in data:
            return False
        self._text = None
        if self._then_refuse:
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._forwards:
            self._deaf.append(server)
        return not self._forwards


class PoolerProxy(Proxy):
    """Makes up the pid of each handshake, as PgBouncer does in every mode."""

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                place = data.find(b"K\x00\x00\x00\x0c") if is_answer else -1
                made_up = (1).to_bytes(4, "big")
                target.sendall(
                    data if place < 0 else data[: place + 5] + made_up + data[place + 9 :]
                )
            target.shutdown(socket.SHUT_WR)
