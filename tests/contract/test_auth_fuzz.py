"""Bodies that nobody would send, for every route of users: never an answer of 5xx (section 16).

FUZZ_BODIES sets how many there are in all, `make faults` sends 10,000; FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

from blueprints.openapi import operations
from tests.clients import PASSWORD, People, new_email

if TYPE_CHECKING:
    from blueprints.edge import Operation

BODIES = int(os.environ.get("FUZZ_BODIES", "200"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
# A busy machine may say "not now"; nothing else of 5xx is an answer.
BUSY = {"auth_busy", "contention", "database_busy", "deadline_exceeded", "outcome_unknown"}
# Each is a text; what is no text, or no JSON, stands below.
TEXTS = [
    "", " ", "a", "a" * 9, "a" * 73, "a" * 255, "a" * 1025, "é" * 300, "e\u0301" * 40, "\u202e" * 9,
    "\x00", "pass\x00word", "\ud800", "\udfff\ud800", "long enough \udc00",
    "\u0378" * 9, "\ufffe" * 9,
    "\U0010ffff" * 9, "\u1e9b\u0323" * 90, "\u0130" * 20, "a@b", "@",
    "a@@b.example", "a@b.example\r\nX: y",
    "a,b@c.example", "\u0130@\u0130.example", "a@" + "b" * 64 + ".example",
    "a@xn--a.example", "a@-.example",
    "a@" + ".".join("b" * 9) + ".example", "\u2028@c.example",
    "A" * 64 + "@c.example", "' OR 1=1 --",
    "srr_", "srd_", "sro_", "srk_default_x_y", "srr_" + "A" * 200,
    "sro_" + "_" * 190, "srd_e30.e30.e30",
    "eyJhbGciOiJub25lIn0.e30.", "%00", "${jndi:x}", "\\", '"', "null", "default",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63, 10**400, 1.5, [], {}, [[]], ["a"],
    {"a": {"b": []}}, [None] * 99,
]  # fmt: skip
RAW = [
    b"", b" ", b"null", b"[]", b'"x"', b"{", b'{"email": }', b"\xff\xfe{}",
    b"\xef\xbb\xbf{}", b"\x00",
    b"[" * 3000, b'{"a":' * 700, b"9" * 4000, b'{"email": NaN}', b'{"email": -Infinity}',
    b'{"email": 1e999}', b'{"email": "a", "email": "b"}', b'{"token": "\xc3"}',
    b'{"token": "\x00"}',
    b'{"password": "\xed\xa0\x80"}', b" " * 4096, b"x" * 5000, b'{"\\ud800": 1}', b"{}" * 9,
]  # fmt: skip
TYPES = ["application/json"] * 9 + ["text/plain", "application/json; charset=latin-1", "", "\u00e9"]
TENANTS = [None] * 6 + ["default", "acme", "-", "\u00e9", "a" * 99, "a_b", ""]


def body(op: Operation, good: list[str], draw: random.Random) -> bytes:
    """Make a body of a route's own members, some of which may even be right."""
    if op.body is None or draw.random() < 0.1:
        return draw.choice(RAW)
    made: dict[str, Any] = {}
    for name in op.body.model_fields:
        if draw.random() < 0.9:
            made[name] = draw.choice(draw.choice([good, TEXTS, TEXTS, VALUES]))
    if draw.random() < 0.05:
        made[draw.choice(TEXTS)] = draw.choice(VALUES)
    return json.dumps(made).encode()


def test_no_body_makes_a_route_of_users_fail(people: People) -> None:
    """Section 16: types, NUL, surrogates, depth; A21: 422 or another refusal, and no exception."""
    print(f"FUZZ_SEED={SEED}")  # noqa: T201  # pytest shows it if the test fails.
    draw, email = random.Random(SEED), new_email()
    tokens = people.signed_up(email)
    people.ask("POST", "/password/forgot", {"email": email})
    good = [email, PASSWORD, new_email(), tokens["refresh_token"], tokens["device_token"]]
    good += [people.link(email), tokens["access_token"], "all", "others", "a longer sentence"]
    routes = [each for each in operations(people.app) if each[0].rule.startswith("/v1/auth/")]
    routes = [each for each in routes if each[1] != "GET"]
    assert len(routes) == 13
    failures = []
    for number in range(BODIES):
        rule, method, op = routes[number % len(routes)]
        sent = body(op, good, draw)
        headers = {"Content-Type": draw.choice(TYPES), "Strongroom-Tenant": draw.choice(TENANTS)}
        headers = {name: value for name, value in headers.items() if value is not None}
        if op.policy.kind != "public":
            headers |= people.new_session().headers
        path = rule.rule.replace("<session_id>", tokens["session_id"])
        client = people.app.test_client()
        answer = client.open(path, method=method, data=sent, headers=headers, buffered=True)
        if answer.status_code >= 500 and (answer.json or {}).get("code") not in BUSY:
            failures.append((path, sent[:300], headers, answer.get_data()))
    assert failures == []
