"""What belongs to every request: its id, deadline, headers, and its one line in the log."""

from __future__ import annotations

import io
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

import observability
from tests.blueprints.things import CREDENTIAL, KEYED, SESSION_ID, build, problem

if TYPE_CHECKING:
    from tests.blueprints.things import Framed

SECRET_KEY = "srk_default_0123456789ab_" + "x" * 49
PROXY = {"TRUSTED_PROXY_HOPS": "1"}


# --- Request id and trace -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["abcdefgh", "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e", "A.b_c-9" * 9]
)
def test_request_id_of_a_client_is_taken(framed: Framed, given: str) -> None:
    """OL2."""
    answer = framed.client.get("/nowhere", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    assert problem(answer)["request_id"] == given
    assert framed.lines()[0]["request_id"] == given


@pytest.mark.parametrize(
    "given", ["", "short", "a" * 65, "with space", "semi;colon", "é" * 8, "a,b" * 4]
)
def test_other_request_id_is_replaced(framed: Framed, given: str) -> None:
    """OL2."""
    answer = framed.client.get("/nowhere", headers={"X-Request-ID": given})
    made = answer.headers["X-Request-ID"]
    assert made != given
    assert (len(made), made[14]) == (36, "7")


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_valid_trace_goes_on_with_a_new_span(framed: Framed) -> None:
    """OL2."""
    framed.client.get("/nowhere", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert framed.lines()[0]["trace_id"] == TRACE
    assert framed.lines()[0]["span_id"] != SPAN


@pytest.mark.parametrize(
    "given",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
    ],
)
def test_invalid_trace_is_replaced(framed: Framed, given: str) -> None:
    """OL2, W3C Trace Context."""
    framed.client.get("/nowhere", headers={"traceparent": given})
    assert framed.lines()[0]["trace_id"] not in {TRACE, "0" * 32}
    assert len(framed.lines()[0]["trace_id"]) == 32


def test_trace_of_a_later_version_is_understood(framed: Framed) -> None:
    """OL2: W3C asks to read what is known of a later version."""
    framed.client.get("/nowhere", headers={"traceparent": f"01-{TRACE}-{SPAN}-01-more"})
    assert framed.lines()[0]["trace_id"] == TRACE


# --- Deadline and shedding ----------------------------------------------------------------------


def deadline_in_s(framed: Framed, headers: dict[str, str]) -> float:
    """Return how long the request had when it arrived."""
    before = time.monotonic()
    answer = framed.client.get("/v1/named/x", headers=CREDENTIAL | headers)
    deadline: float = answer.get_json()["seen"]["deadline"]
    return deadline - before


def test_what_follows_a_request_has_not_its_deadline(framed: Framed) -> None:
    """A thread serves many requests, and a test has one thread for all."""
    framed.client.get("/v1/named/x", headers=CREDENTIAL)
    assert observability.current().deadline is None


def test_what_follows_the_answer_has_its_request_id_and_no_deadline(framed: Framed) -> None:
    seen = []
    framed.door.touch = lambda *_: seen.append(observability.current())  # type: ignore[method-assign]
    answer = framed.client.get("/v1/named/x", headers=CREDENTIAL, buffered=True)
    assert [context.request_id for context in seen] == [answer.headers["X-Request-ID"]]
    assert [context.deadline for context in seen] == [None]


def sent(seconds_ago: float, prefix: str = "t=") -> dict[str, str]:
    return {"X-Request-Start": f"{prefix}{time.time() - seconds_ago:.3f}"}


def test_deadline_counts_from_now_without_a_proxy(log: io.StringIO) -> None:
    """OS2: the header is not believed."""
    framed = build(log, REQUEST_DEADLINE_MS="4500")
    assert 4.4 < deadline_in_s(framed, sent(0.9)) < 10


def test_deadline_counts_from_the_proxy(log: io.StringIO) -> None:
    """OS2: time spent in a queue is the client's time too."""
    assert deadline_in_s(build(log, **PROXY), sent(0.9)) < 4.2


def test_too_old_a_request_is_refused_before_any_work(log: io.StringIO) -> None:
    """OS2."""
    framed = build(log, **PROXY)
    answer = framed.client.post("/v1/things", headers=sent(1.5))
    assert problem(answer)["code"] == "overloaded"
    assert answer.headers["Retry-After"] == "1"
    assert framed.lines()[0]["queue_ms"] > 1_400
    assert framed.lines()[0]["status"] == 503


@pytest.mark.parametrize(
    "start", ["", "t=", "soon", "t=1", "t=-1", "t=1e9", "t=99999999999", "1700000000000"]
)
def test_unreadable_start_is_ignored(log: io.StringIO, start: str) -> None:
    """OS2."""
    framed = build(log, **PROXY)
    assert framed.client.get("/nowhere", headers={"X-Request-Start": start}).status_code == 404


def test_start_of_long_ago_is_ignored(log: io.StringIO) -> None:
    """OS2: over 60 s old: a clock is wrong."""
    framed = build(log, **PROXY)
    assert framed.client.get("/nowhere", headers=sent(61)).status_code == 404


def test_start_ahead_of_us_gives_no_more_time(log: io.StringIO) -> None:
    """OS2: a clock is wrong."""
    assert deadline_in_s(build(log, **PROXY), sent(-30)) < 30


# --- Proxies and hosts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        ("0", "9.9.9.9", "127.0.0.1"),
        ("1", "9.9.9.9", "9.9.9.9"),
        ("1", "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("2", "6.6.6.6, 9.9.9.9, 8.8.8.8", "9.9.9.9"),
    ],
)
def test_address_is_what_the_trusted_hops_vouch_for(
    log: io.StringIO, hops: str, forwarded: str, address: str
) -> None:
    """OR5, A29: a longer forged header changes nothing."""
    framed = build(log, TRUSTED_PROXY_HOPS=hops)
    framed.client.get("/nowhere", headers={"X-Forwarded-For": forwarded})
    assert framed.lines()[0]["client_ip"] == address


@pytest.mark.parametrize("host", ["api.example", "API.example", "api.example:8443"])
def test_our_hosts_are_served(log: io.StringIO, host: str) -> None:
    framed = build(log, ALLOWED_HOSTS="api.example,www.example")
    assert framed.client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "api.example.evil", "", "api.example:80:80", "[::1]"]
)
def test_other_hosts_are_400(log: io.StringIO, host: str) -> None:
    """Operations 11."""
    framed = build(log, ALLOWED_HOSTS="api.example")
    answer = framed.client.get("/livez", headers={"Host": host})
    assert problem(answer)["code"] == "invalid_header"
    assert problem(answer)["errors"][0]["header"] == "Host"


@pytest.mark.parametrize("host", ["a b", "\x00", "[", "a" * 300, "..", "xn--\u00e9", "[::1"])
def test_host_that_is_none_never_breaks(framed: Framed, host: str) -> None:
    answer = framed.client.get("/livez", environ_overrides={"HTTP_HOST": host})
    assert answer.status_code in {200, 400}


# --- Headers of every answer --------------------------------------------------------------------

ANSWERS = [
    ("GET", "/livez", 200),
    ("GET", "/nowhere", 404),
    ("DELETE", "/livez", 405),
    ("POST", "/v1/things", 401),
    ("POST", "/v1/broken", 500),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_has_the_security_headers(
    framed: Framed, method: str, path: str, status: int
) -> None:
    """Operations 11."""
    answer = framed.client.open(path, method=method)
    assert answer.status_code == status
    headers = {name: answer.headers.getlist(name) for name, _ in answer.headers}
    assert headers["X-Content-Type-Options"] == ["nosniff"]
    assert headers["Cache-Control"] == ["no-store"]
    assert headers["Content-Security-Policy"] == ["default-src 'none'; frame-ancestors 'none'"]
    assert headers["Referrer-Policy"] == ["no-referrer"]
    assert headers["Cross-Origin-Resource-Policy"] == ["same-origin"]
    assert "Strict-Transport-Security" not in headers
    assert not [name for name in headers if name.startswith("Access-Control-")]


def test_hsts_is_sent_over_tls_only(log: io.StringIO) -> None:
    """Operations 11."""
    answer = build(log, **PROXY).client.get("/livez", headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"


def test_a_view_may_say_how_long_it_keeps(framed: Framed) -> None:
    """Operations 11: OpenAPI may be kept, once."""
    assert framed.client.get("/openapi.json").headers.getlist("Cache-Control") == ["max-age=300"]


# --- The log ------------------------------------------------------------------------------------


def test_one_line_per_request_says_everything(framed: Framed) -> None:
    """OL1."""
    framed.make('{"amount_minor": 1, "currency": "EUR"}', headers={"User-Agent": "curl/8"})
    (line,) = framed.lines()
    expected = {
        "level": "info",
        "tenant_id": "default",
        "actor_kind": "key",
        "actor_id": "1",
        "session_id": None,
        "method": "POST",
        "route": "/v1/things",
        "status": 200,
        "code": None,
        "bytes_in": 38,
        "client_ip": "127.0.0.1",
        "user_agent": "curl/8",
        "db_statements": 0,
    }
    assert line | expected == line
    assert line["ts"].endswith("Z")
    assert line["duration_ms"] > 0
    assert line["bytes_out"] > 0
    framed.make("{}", headers={"Authorization": "Bearer person"})
    line = framed.lines()[-1]
    assert (line["actor_kind"], line["session_id"]) == ("user", str(SESSION_ID))


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS[1:])
def test_refused_requests_have_their_line_too(
    framed: Framed, method: str, path: str, status: int
) -> None:
    """OL1: with the problem's code; only what a person must look at is an error."""
    found = problem(framed.client.open(path, method=method))
    (line,) = framed.lines()
    assert (line["status"], line["code"]) == (status, found["code"])
    assert line["level"] == ("error" if status == 500 else "info")


def test_probes_that_pass_have_no_line(framed: Framed) -> None:
    """OL1."""
    framed.client.get("/livez")
    framed.client.get("/livez?x=1")
    assert [line["status"] for line in framed.lines()] == [422]


def test_route_is_the_template_not_the_path(framed: Framed) -> None:
    """OL3: no ids, no query values."""
    framed.client.get("/v1/named/somebody?secret=value", headers=CREDENTIAL)
    assert framed.lines()[0]["route"] == "/v1/named/<name>"
    assert "somebody" not in framed.log.getvalue()
    assert "value" not in framed.log.getvalue()


@pytest.mark.parametrize(
    "secret",
    [
        SECRET_KEY,
        "srr_AbCd-_123",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "$argon2id$v=19$m=65536,t=3,p=1$abc$def",
        "$2b$12$" + "a" * 53,
        "postgresql://user:pass@db/strongroom",
        "rediss://:pass@cache:6379/0",
        "0" * 64,
        "Bearer abc.def",
        "ann@example.org",
    ],
)
def test_secrets_are_not_logged(framed: Framed, secret: str) -> None:
    """OL3: not from a header, not from an exception, not from a field."""
    framed.client.get("/nowhere", headers={"User-Agent": f"x {secret} y"})
    error = ValueError(f"failed for {secret!r}")
    observability.log.error("tried", exc_info=error, text=secret, password="p")
    assert secret not in framed.log.getvalue()
    assert framed.lines()[0]["user_agent"] == "x *** y"
    assert framed.lines("tried")[0]["password"] == "***"


def test_credential_is_not_logged(framed: Framed) -> None:
    """OL3."""
    framed.client.get("/nowhere", headers=KEYED | {"Cookie": "a=b"})
    assert "good" not in framed.log.getvalue()
    assert "a=b" not in framed.log.getvalue()


def test_control_characters_are_escaped(framed: Framed) -> None:
    """OL4: a client cannot write a line of its own."""
    environ = {"HTTP_USER_AGENT": 'a\n{"event": "request"}\x1b[2J\x85\u2028'}
    framed.client.get("/nowhere", environ_overrides=environ)
    assert len(framed.log.getvalue().splitlines()) == 1
    assert framed.log.getvalue().isascii()


def test_long_fields_and_lines_are_cut(framed: Framed) -> None:
    """OL4."""
    framed.client.get("/nowhere", headers={"User-Agent": "a" * 5_000})
    assert len(framed.lines()[0]["user_agent"]) == 2_048
    observability.log.info("long", **{f"field{i}": "b" * 2_000 for i in range(20)})
    assert framed.lines("long")[0]["cut"] is True
    assert all(len(line) <= 16_384 for line in framed.log.getvalue().splitlines())


def test_exception_is_told_by_type_frames_and_group(framed: Framed) -> None:
    """OL4: no locals; the same fault has the same group."""
    for _ in range(2):
        framed.client.post("/v1/broken")
    first, second = framed.lines("unexpected")
    assert first["error"] == "secret ***"
    assert first["frames"][-1].endswith("broken")
    assert first["error_group"] == second["error_group"]
    assert len(first["error_group"]) == 12


def test_failure_after_the_answer_is_logged_and_harms_nobody(framed: Framed) -> None:
    answer = framed.client.post("/v1/later", headers=CREDENTIAL, buffered=True)
    assert answer.status_code == 200
    (line,) = framed.lines("after_answer.failed")
    assert line["error_type"] == "ZeroDivisionError"
    assert framed.door.touched == ["key:1"]


def test_library_logs_follow_ours(framed: Framed) -> None:
    """OL1: gunicorn and psycopg follow."""
    logging.getLogger("psycopg.pool").warning("error connecting: %s", "postgresql://a:b@c/d")
    (line,) = framed.lines("library")
    assert (line["logger"], line["text"]) == ("psycopg.pool", "error connecting: ***")


def test_terminal_gets_lines_for_people() -> None:
    written = io.StringIO()
    observability.set_up_logging(json_lines=False, file=written)
    build(written).client.get("/nowhere")
    observability.set_up_logging()
    assert "not_found" in written.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(written.getvalue())


def test_quiet_level_keeps_errors_only(framed: Framed) -> None:
    written = io.StringIO()
    observability.set_up_logging("error", file=written)
    framed.client.get("/nowhere")
    framed.client.post("/v1/broken")
    events: list[Any] = [json.loads(line)["event"] for line in written.getvalue().splitlines()]
    assert events == ["unexpected", "request"]
