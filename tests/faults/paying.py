"""Mixed load with one seed, its history, and what has to hold after any fault (FI1 to FI7, FI9)."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from persistence.db import Database, DbSettings
from services.api_keys import ApiKeys
from tests.faults.service import PATIENCE_S, SUBJECT, Client
from tests.faults.test_kills import assert_nothing_lost_or_doubled

if TYPE_CHECKING:
    from types import TracebackType

    from tests.faults.service import Service

CLIENTS = 6
OK, CREATED = 200, 201


@dataclass(frozen=True, slots=True)
class Event:
    """One attempt: `info` (no answer, or one that leaves it open) stays "maybe"; the key tells."""

    process: int
    kind: str  # ok, refused (503: no effect, or the key tells), info (no answer).
    op: str
    key: str
    began: float
    ended: float
    status: int
    code: str  # Of a problem.


@dataclass
class Payer(Client):
    """A client that notes each attempt, and all that it was told with what it had asked."""

    number: int = 0
    events: list[Event] = field(default_factory=list)
    asked: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def send(
        self, method: str, path: str, body: dict[str, Any] | None, key: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Send, and note how it went."""
        began, status = time.monotonic(), 0
        answer: dict[str, Any] = {}
        try:
            status, answer = super().send(method, path, body, key)
        finally:
            kind = "ok" if status in {OK, CREATED} else "refused" if status else "info"
            op = f"{method} {path.rpartition('/')[2]}"
            code, ended = answer.get("code", ""), time.monotonic()
            self.events.append(Event(self.number, kind, op, key or "", began, ended, status, code))
        if key is not None and body is not None:
            self.asked[key] = (path, body)
        return status, answer

    def pay(self, amount_minor: int) -> None:
        """Pay, and read what was just told, by whichever process answers (FI9)."""
        before = len(self.acknowledged)
        super().pay(amount_minor)
        told = [self.acknowledged[key] for key in list(self.acknowledged)[before:]]
        payment = told[-1].get("payment", told[-1])
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, read = self.send("GET", f"/v1/payments/{payment['id']}", None, None)
            assert status in {OK, 429, 503}, read
            assert status != OK or read["version"] >= payment["version"], "FI9: an older state"


class Paying:
    """`with Paying(service, seed) as paying:` creates, captures and refunds until the end."""

    def __init__(self, service: Service, seed: int, clients: int = CLIENTS) -> None:
        self.service, self.seed = service, seed
        self.payers = [Payer(service, number=number) for number in range(clients)]
        self.failures: list[BaseException] = []
        self.intruders: list[int] = []
        self._revoked = _revoked_key(service)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._pay, args=(each,)) for each in self.payers]
        self._threads.append(threading.Thread(target=self._intrude))

    @property
    def answered(self) -> int:
        """Requests that were answered as they should be."""
        return sum(len(payer.acknowledged) for payer in self.payers)

    @property
    def events(self) -> list[Event]:
        """The history, in order of its ends."""
        found = [event for payer in self.payers for event in payer.events]
        return sorted(found, key=lambda event: event.ended)

    def more(self, number: int) -> None:
        """Return when so many more are answered: load, not time, sets the pace."""
        goal, until = self.answered + number, time.monotonic() + PATIENCE_S
        while self.answered < goal and not self.failures:
            assert time.monotonic() < until, "nobody is served"
            self._stop.wait(0.01)
        assert not self.failures, self.failures

    def attempts(self, number: int) -> None:
        """Return when so many more attempts have ended, well or not."""
        goal, until = self._attempted + number, time.monotonic() + PATIENCE_S
        while self._attempted < goal:
            assert time.monotonic() < until, "no attempt ends"
            self._stop.wait(0.01)

    @property
    def _attempted(self) -> int:
        return sum(len(payer.events) for payer in self.payers)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _pay(self, payer: Payer) -> None:
        chance = random.Random(self.seed * 100 + payer.number)
        try:
            while not self._stop.is_set():
                payer.pay(chance.randint(4, 5_000))
        except BaseException as error:  # noqa: BLE001  # `more` and `check` raise it.
            self.failures.append(error)
        finally:
            payer.close()

    def _intrude(self) -> None:
        """Try a revoked key all the time."""
        while not self._stop.wait(0.02):
            connection = self.service.connection()
            try:
                connection.request(
                    "GET", "/v1/payments", headers={"Authorization": f"Bearer {self._revoked}"}
                )
                self.intruders.append(connection.getresponse().status)
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()

    # --- What has to hold -----------------------------------------------------------------------

    def check(self) -> None:
        """FI1 to FI7: call it when the load has ended. The books are replayed when all is over."""
        assert not self.failures, self.failures
        assert_nothing_lost_or_doubled(self.service, list(self.payers))
        assert set(self.intruders) <= {401, 429, 503}, "FI5: a revoked key was served"
        self._repeat()

    def _repeat(self) -> None:
        """FI3, FI7: what was answered is answered again, the same, and nothing is in progress."""
        payer = self.payers[0]
        chance = random.Random(self.seed)
        for key in chance.sample(sorted(payer.acknowledged), min(8, len(payer.acknowledged))):
            answer = self._asked_again(payer, key)
            assert answer == payer.acknowledged[key]
        payer.close()

    def _asked_again(self, payer: Payer, key: str) -> dict[str, Any]:
        """Return the answer; an old mark may say "in progress" until it lapses, after 2 s."""
        until = time.monotonic() + PATIENCE_S
        while True:
            status, answer = payer.send("POST", *payer.asked[key], key)
            if status in {OK, CREATED}:
                return answer
            assert answer["retryable"], answer
            assert time.monotonic() < until, answer
            time.sleep(0.05)

    def figures(self) -> dict[str, float]:
        """What a report says: attempts, refusals, lost answers, the longest, the longest gap."""
        events = self.events
        good = [event.ended for event in events if event.kind == "ok"]
        gaps = [after - before for before, after in itertools.pairwise(good)]
        return {
            "attempts": len(events),
            "ok": len(good),
            "refused": sum(event.kind == "refused" for event in events),
            "no_answer": sum(event.kind == "info" for event in events),
            "longest_ms": round(max(e.ended - e.began for e in events) * 1000),
            "gap_ms": round(max(gaps) * 1000),
        }


def _revoked_key(service: Service) -> str:
    db = Database(service.database_url, DbSettings(pool_size=1))
    try:
        keys = ApiKeys(db)
        row, text = keys.create("default", "revoked", ["payments:read"], SUBJECT)
        keys.revoke("default", str(row.id), SUBJECT)
        return text
    finally:
        db.close()
