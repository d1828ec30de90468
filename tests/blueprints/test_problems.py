"""One shape for every refusal and failure, whoever raised it."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.exceptions import Conflict, GatewayTimeout, TooManyRequests

from blueprints.problems import Problem
from errors import (
    AppError,
    IdempotencyInProgress,
    LedgerBehind,
    RateLimited,
    all_errors,
)
from observability import problems_total
from tests.blueprints.things import CREDENTIAL, KEYED, problem

if TYPE_CHECKING:
    from tests.blueprints.things import Framed

FIRST = [
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "retryable",
    "request_id",
    "errors",
]


def raising(framed: Framed, error: Exception, headers: dict[str, str] | None = None) -> Any:
    """Let the view of POST /v1/broken raise `error`."""

    def fail(**_: Any) -> None:
        raise error

    fail.operation = framed.app.view_functions["things.broken"].operation  # type: ignore[attr-defined, union-attr]
    framed.app.view_functions["things.broken"] = fail  # type: ignore[assignment]
    return framed.client.post("/v1/broken", headers=headers or {})


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.code)
def test_every_error_has_the_one_shape(framed: Framed, error: type[AppError]) -> None:
    """AF1, AF4."""
    found = problem(raising(framed, error()))
    assert list(found) == FIRST
    assert found["code"] == error.code
    assert found["detail"] == (error.__doc__ or "").strip().splitlines()[0]
    assert found["retryable"] is error.retryable
    Problem.model_validate(found)


@pytest.mark.parametrize(
    "error", [e for e in all_errors() if e.status in {429, 503}], ids=lambda error: error.code
)
def test_every_429_and_503_says_when_to_come_back(framed: Framed, error: type[AppError]) -> None:
    """AF3."""
    assert int(raising(framed, error()).headers["Retry-After"]) >= 1


@pytest.mark.parametrize(("error", "seconds"), [(IdempotencyInProgress, "1"), (LedgerBehind, "5")])
def test_retryable_conflicts_say_when_to_come_back(
    framed: Framed, error: type[AppError], seconds: str
) -> None:
    """P46."""
    assert raising(framed, error()).headers["Retry-After"] == seconds


def test_an_error_can_set_its_own_headers_and_members(framed: Framed) -> None:
    error = RateLimited(headers={"Retry-After": "30"}, policy="write")
    answer = raising(framed, error)
    assert answer.headers["Retry-After"] == "30"
    assert problem(answer)["policy"] == "write"


@pytest.mark.parametrize(
    "error", [e for e in all_errors() if e.status == 401], ids=lambda error: error.code
)
def test_every_401_says_how_to_authenticate(framed: Framed, error: type[AppError]) -> None:
    assert raising(framed, error()).headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/things/",
        "/v1//things",
        "/favicon.ico",
        "/v1/%2e%2e",
        "/static/x",
        "/\u00e9",
        "/<script>",
    ],
)
def test_unknown_path_is_404(framed: Framed, path: str) -> None:
    """AF4: no redirect, no page of another shape."""
    answer = framed.client.get(path)
    assert problem(answer)["code"] == "not_found"
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["DELETE", "PUT", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_method_is_405_and_says_which(framed: Framed, method: str) -> None:
    """AF4; operations 11: CORS is off, OPTIONS is 405."""
    answer = framed.client.open("/v1/things", method=method)
    assert problem(answer)["code"] == "method_not_allowed"
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_head_is_answered_as_get_without_a_body(framed: Framed) -> None:
    answer = framed.client.head("/livez")
    assert (answer.status_code, answer.get_data()) == (200, b"")
    assert framed.client.head("/nowhere").status_code == 404


def test_surprise_is_500_and_tells_nothing(framed: Framed) -> None:
    """AF4: no stack, no text of the exception; the log has it under the request id."""
    answer = framed.client.post("/v1/broken")
    found = problem(answer)
    assert found["code"] == "internal_error"
    assert not re.search("ZeroDivision|Traceback|srk_|secret|File", answer.get_data(as_text=True))
    (logged,) = framed.lines("unexpected")
    assert logged["request_id"] == found["request_id"]
    assert logged["error_type"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Conflict("secret"), 400, "invalid_header"),
        (TooManyRequests("secret"), 429, "rate_limited"),
        (GatewayTimeout("secret"), 500, "internal_error"),
        (RecursionError("secret"), 500, "internal_error"),
    ],
)
def test_what_libraries_raise_becomes_ours(
    framed: Framed, error: Exception, status: int, code: str
) -> None:
    """AF4."""
    answer = raising(framed, error)
    assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert b"secret" not in answer.get_data()


def test_fault_outside_flask_is_a_problem_too(framed: Framed) -> None:
    """AF4: the last resort stands around everything."""

    def broken(*_: Any) -> Any:
        raise OSError("secret")

    framed.app.request_context = broken  # type: ignore[method-assign, assignment]
    answer = framed.client.get("/livez")
    assert problem(answer)["code"] == "internal_error"
    assert answer.headers["X-Request-ID"] == problem(answer)["request_id"]
    assert framed.lines()[0]["status"] == 500


def test_503_of_a_keyed_request_does_not_free_the_key(framed: Framed) -> None:
    """K4: an earlier try under the same key may have worked."""
    answer = framed.client.post("/v1/lost", headers=KEYED)
    assert problem(answer)["safe_new_key"] is False
    assert answer.headers["Idempotency-Key"] == "key-1"


def test_instance_is_a_urn_for_any_request_id(framed: Framed) -> None:
    """K4."""
    given = {"X-Request-ID": "client-chose-this"}
    found = problem(framed.client.get("/nowhere", headers=given))
    assert found["request_id"] == "client-chose-this"
    assert re.fullmatch("urn:uuid:[0-9a-f-]{36}", found["instance"])
    found = problem(framed.client.get("/nowhere"))
    assert found["instance"] == f"urn:uuid:{found['request_id']}"


def test_problems_are_counted_by_code(framed: Framed) -> None:
    """OM1: by code, a closed set."""
    counter = problems_total.labels("not_found")
    before = counter._value.get()
    framed.client.get("/nowhere")
    assert counter._value.get() == before + 1


# --- Bad input ----------------------------------------------------------------------------------

SECRET = "Zq7vSecretValue"  # A value that must come back from nowhere.


GOOD: dict[str, Any] = {
    "amount_minor": 1099,
    "currency": "EUR",
    "reference": "order-1",
    "owner_id": "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e",
    "due_at": "2026-01-31T12:00:00Z",
    "final": True,
    "metadata": {"colour": "red"},
}
REQUIRED = ("amount_minor", "currency")
FINE = {
    ("final", "true"),
    ("reference", f'"{SECRET}"'),
    ("metadata", f'{{"{SECRET[:3]}": "{SECRET}"}}'),
}
_VALUES = [
    "null", "true", "0", "-1", "1.0", "1e3", "1e400", "NaN", "-Infinity", "1000000000000000",
    "9" * 500, '""', f'"{SECRET}"', f'["{SECRET}"]', f'{{"{SECRET[:3]}": "{SECRET}"}}',
    '"\\u0000"', f'"{SECRET}\\u0000"', '"\\ud800"', '"\x00"', "[" * 40, "{", "'a'",
    f'"{SECRET * 100}"', '"\\x"', '"\n"',
]  # fmt: skip


def _bad_bodies(seed: int) -> list[bytes]:
    """Return more than 200 bodies, none of which is right: each breaks one thing or two."""
    draw = random.Random(seed)
    good = {name: json.dumps(value) for name, value in GOOD.items()}
    made = [
        _object(good | {name: value})
        for name in good
        for value in _VALUES
        if (name, value) not in FINE
    ]
    made += [_object({n: v for n, v in good.items() if n != name}) for name in REQUIRED]
    made += [f'{_object(good)[:-1]}, "{name}": {value}}}' for name, value in good.items()]
    made += [_object(good | {f"{name}_": f'"{SECRET}"'}) for name in good]
    whole = _object(good)
    made += [whole[: draw.randrange(1, len(whole))] for _ in range(20)]
    encoded = [body.encode("utf-8") for body in made]
    for _ in range(20):
        broken = bytearray(whole.encode())
        broken[draw.randrange(len(broken))] = draw.choice(b"\x00\x80\xff\xc3{}[]")
        encoded.append(bytes(broken))
    return [*encoded, whole.encode("utf-16"), b"\xef\xbb\xbf" + whole.encode(), b"", b"\x00"]


def _object(members: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"


def test_200_bad_bodies_are_4xx_and_never_echoed(framed: Framed) -> None:
    """Proofs of architecture: 0 answers of 5xx, 0 echoed values; each with a stable code."""
    bodies = _bad_bodies(seed=7)
    assert len(bodies) > 200
    for body in bodies:
        answer = framed.make(body, "/v1/plain-things")
        found = problem(answer)
        assert answer.status_code in {400, 422}, (body[:200], found)
        assert SECRET not in answer.get_data(as_text=True), body[:200]
        if answer.status_code == 422:
            assert all(set(one) == {"pointer", "code", "detail"} for one in found["errors"])
            assert found["errors"]
    assert SECRET not in framed.log.getvalue()


def test_200_bad_headers_and_queries_are_4xx(framed: Framed) -> None:
    """The same for what is not a body."""
    draw = random.Random(11)
    letters = [chr(c) for c in range(1, 256) if chr(c) not in "\r\n"]
    for _ in range(200):
        junk = "".join(draw.choices(letters, k=draw.randrange(1, 40))) + ","
        environ = {"HTTP_IDEMPOTENCY_KEY": junk}
        answer = framed.client.post("/v1/things", headers=KEYED, environ_overrides=environ)
        assert problem(answer)["code"] == "idempotency_key_invalid"
        answer = framed.client.get(
            "/v1/things", headers=CREDENTIAL, environ_overrides={"QUERY_STRING": junk}
        )
        assert problem(answer)["code"] == "validation_failed"
