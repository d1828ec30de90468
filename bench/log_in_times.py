"""A26: whether the time of an answer tells who has an account, and what kind of hash it has.

Every kind of user is tried once per round by a wrong password, in a random order, the first request
after the start included. Whoever is tried is tried once: the throttle has nothing to say.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import time
from typing import TYPE_CHECKING

import bcrypt
import psycopg

from bench.log_in import PASSWORD, PEOPLE, hashed
from bench.measure import Figure
from bench.processes import BenchError
from bench.report import Row
from bench.stage import TENANT, USER_HEAD

if TYPE_CHECKING:
    from bench.stage import Stage

TRIES = 30
# Of each kind so many users, behind those who log in.
KINDS = ("wrong password", "bcrypt", "disabled", "without a password", "unknown address")
UNAUTHORIZED = 401


def prepare(stage: Stage) -> None:
    """Give the users of each kind their hashes, before the service starts and reads the kinds."""
    text = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10, b"2b")).decode()
    hashes = {"wrong password": hashed(), "bcrypt": text, "disabled": hashed()}
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        for kind, stored in hashes.items():
            first, last = _numbers(kind)
            is_bcrypt = kind == "bcrypt"
            conn.execute(
                "UPDATE users SET password_hash = %s, password_algo = %s, password_params = %s,"
                " version = version + 1, email_verified_at = now(), status = %s"
                " WHERE tenant_id = %s AND id >= %s AND id <= %s",
                [
                    stored,
                    "bcrypt" if is_bcrypt else "argon2id",
                    json.dumps({"cost": 10} if is_bcrypt else {"m": 65536, "t": 3, "p": 1}),
                    "disabled" if kind == "disabled" else "active",
                    TENANT,
                    f"{USER_HEAD}{first:012x}",
                    f"{USER_HEAD}{last:012x}",
                ],
            )


def times(stage: Stage) -> list[Row]:
    """Try everybody; the figure is a mean, its bounds those of one answer in milliseconds."""
    port = stage.service()
    seed = random.SystemRandom().randrange(2**32)
    print(f"  seed {seed}", flush=True)
    draw = random.Random(seed)  # An order, no secret.
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(TRIES):
        for kind in draw.sample(KINDS, len(KINDS)):
            found[kind].append(_try(connection, _address(kind, number)))
    means = {kind: statistics.fmean(values) for kind, values in found.items()}
    apart = (max(means.values()) / min(means.values()) - 1) * 100
    rows = [
        Row("A26" if kind == KINDS[0] else "", f"{kind}: ms, mean of {TRIES}", Figure((mean,)))
        for kind, mean in means.items()
    ]
    return [*rows, Row("", "means apart, %", Figure((apart,)), 10, 5, at_most=True)]


def _numbers(kind: str) -> tuple[int, int]:
    first = PEOPLE + 1 + KINDS.index(kind) * TRIES
    return first, first + TRIES - 1


def _address(kind: str, number: int) -> str:
    if kind == "unknown address":
        return f"nobody{number}@example.com"
    return f"u{_numbers(kind)[0] + number}@example.com"


def _try(connection: http.client.HTTPConnection, email: str) -> float:
    body = json.dumps({"email": email, "password": "not the right one"})
    begun = time.perf_counter()
    connection.request("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    took_ms = (time.perf_counter() - begun) * 1_000
    if answer.status != UNAUTHORIZED:
        raise BenchError(f"A wrong password was answered with {answer.status}.")
    return took_ms
