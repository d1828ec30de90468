"""B5: transfers a second over HTTP, in large batches."""

from __future__ import annotations

import http.client
import json
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bench.measure import Figure
from bench.postings import ACCOUNTS, open_accounts
from bench.processes import BenchError
from bench.report import Row
from bench.stage import CURRENCY

if TYPE_CHECKING:
    from bench.stage import Stage

SIZE = 2_000  # 8,190 are allowed; on a busy machine such a one may pass its deadline.
CLIENTS = 2
BATCHES = 4
PATH = "/v1/ledger/transactions/batch"


def batches(stage: Stage, rounds: int) -> list[Row]:
    """Send batches by two clients at once; return B5's rows."""
    port = stage.service()
    client = Client(port, stage.api_key)
    open_accounts(stage)
    client.send(PATH, _batch(random.Random(0), 0))
    found = []
    for number in range(rounds):
        rng = random.Random(number)
        bodies = [_batch(rng, place % CLIENTS) for place in range(CLIENTS * BATCHES)]
        clients = [Client(port, stage.api_key) for _ in range(CLIENTS)]
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda n, mine=clients, sent=bodies: _work(mine[n], sent[n::CLIENTS]),
                          range(CLIENTS)))  # fmt: skip
        found.append(SIZE * len(bodies) / (time.monotonic() - began))
        print(f"  round {number + 1}: {found[-1]:,.0f}/s", flush=True)
    what = f"batches of {SIZE:,}, transfers/s"
    return [Row("B5", what, Figure.of(found), target=15_000, goal=50_000)]


class Client:
    """A connection that stays open."""

    def __init__(self, port: int, api_key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}

    def send(self, path: str, body: Any) -> Any:
        """POST. Raises BenchError for whatever is not 2xx."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request("POST", path, data, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:  # noqa: PLR2004
            raise BenchError(f"POST {path}: {answer.status} {text[:500]!r}")
        return json.loads(text)


def _work(client: Client, bodies: list[bytes]) -> None:
    for body in bodies:
        outcomes = {each["outcome"] for each in client.send(PATH, body)["results"]}
        if outcomes != {"created"}:
            raise BenchError(f"A batch has met {outcomes}.")


def _batch(rng: random.Random, part: int) -> bytes:
    """Return a batch among the accounts of one client: whose batches wait for nobody's locks."""
    mine = range(1 + part, ACCOUNTS + 1, CLIENTS)
    transactions = []
    for _ in range(SIZE):
        debit, credit = rng.sample(mine, 2)
        leg = {"debit": f"a{debit}", "credit": f"a{credit}", "amount_minor": 1}
        transactions.append({"id": str(uuid.uuid4()), "legs": [{**leg, "currency": CURRENCY}]})
    return json.dumps({"transactions": transactions}).encode()
