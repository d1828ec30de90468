"""Load from several clients, each request sent once: what fails is kept, with its answer."""

from __future__ import annotations

import http.client
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from tests.faults.service import PATIENCE_S, Client
from tests.world import new_key

if TYPE_CHECKING:
    from tests.faults.service import Service

CLIENTS = 6


class Load:
    """`with Load(service) as load:` creates payments until the block is left."""

    def __init__(self, service: Service, clients: int = CLIENTS) -> None:
        self.clients = [Client(service) for _ in range(clients)]
        self.failed: list[tuple[int, Any]] = []
        self._service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(c,)) for c in self.clients]

    @property
    def answered(self) -> int:
        """Requests that were answered as they should be."""
        return sum(len(client.acknowledged) for client in self.clients)

    def more(self, number: int) -> None:
        """Return when so many more requests are answered: load, not time, sets the pace."""
        goal, until = self.answered + number, time.monotonic() + PATIENCE_S
        while self.answered < goal:
            assert time.monotonic() < until, f"nobody is served: {self.failed[-3:]}"
            self._stop.wait(0.01)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, client: Client) -> None:
        body = {"amount_minor": 100, "currency": "EUR", "user_id": self._service.user_id}
        while not self._stop.is_set():
            key = new_key()
            try:
                status, answer = client.send("POST", "/v1/payments", body, key)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append((0, repr(error)))
                continue
            if status == http.HTTPStatus.CREATED:
                client.acknowledged[key] = answer
            else:
                self.failed.append((status, answer))
        client.close()
