"""The way of a request into a view: who, headers, bytes, JSON, model; and what it is given."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from services.idempotency import fingerprint
from tests.blueprints.things import CREDENTIAL, KEYED, THING, build, problem

if TYPE_CHECKING:
    from tests.blueprints.things import Framed

GOOD = '{"amount_minor": 1099, "currency": "EUR"}'


def seen(answer: Any) -> dict[str, Any]:
    """Return what the view was given."""
    assert answer.status_code == 200, answer.get_data()
    found: dict[str, Any] = answer.get_json()["seen"]
    return found


# --- Who ----------------------------------------------------------------------------------------


def test_no_credential_is_401(framed: Framed) -> None:
    """A6."""
    answer = framed.client.post("/v1/things", data=GOOD)
    assert problem(answer)["code"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="strongroom"'


def test_missing_scope_is_403_and_names_it(framed: Framed) -> None:
    """A6."""
    answer = framed.make(GOOD, headers={"Authorization": "Bearer weak"})
    assert problem(answer)["code"] == "scope_missing"
    assert problem(answer)["required_scope"] == "payments:create"


def test_credential_is_asked_before_anything_is_read(framed: Framed) -> None:
    """K1: credential and scope come first, whatever else is wrong."""
    answer = framed.client.post(
        "/v1/things?x=1", data="{", headers={"Idempotency-Key": "a,b", "If-Match": "x"}
    )
    assert problem(answer)["code"] == "unauthenticated"


def test_use_of_a_key_is_noted_when_the_answer_has_left(framed: Framed) -> None:
    """A12."""
    answer = framed.make(GOOD, buffered=False)
    assert framed.door.touched == []
    answer.close()
    assert framed.door.touched == ["key:1"]


# --- Idempotency-Key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["", "a,b", "a b", 'a"b', '"a', 'a"', '""', "a\\b", "é", "a" * 256]
)
def test_bad_key_is_400(framed: Framed, header: str) -> None:
    """K2."""
    answer = framed.make(GOOD, headers={"Idempotency-Key": header})
    found = problem(answer)
    assert found["code"] == "idempotency_key_invalid"
    assert found["safe_new_key"] is True
    assert found["see"].endswith("#section-2.1")
    assert "Idempotency-Key" not in answer.headers


def test_key_sent_twice_is_400(framed: Framed) -> None:
    """K2: servers join repeated headers by a comma."""
    environ = {"HTTP_IDEMPOTENCY_KEY": "key-1,key-1"}
    answer = framed.client.post(
        "/v1/things", data=GOOD, headers=CREDENTIAL, environ_overrides=environ
    )
    assert problem(answer)["code"] == "idempotency_key_invalid"


@pytest.mark.parametrize("header", ["abc", '"abc"'])
def test_quoted_key_is_the_same_key(framed: Framed, header: str) -> None:
    """K2, K4: both forms are one key, and every answer echoes it."""
    answer = framed.make(GOOD, headers={"Idempotency-Key": header})
    assert seen(answer)["key"] == "abc"
    assert answer.headers["Idempotency-Key"] == "abc"


def test_longest_key_is_taken(framed: Framed) -> None:
    """K2."""
    assert seen(framed.make(GOOD, headers={"Idempotency-Key": "~" * 255}))["key"] == "~" * 255


def test_missing_key_is_400(framed: Framed) -> None:
    """Section 7 of payments: a POST that moves money needs a key."""
    answer = framed.client.post("/v1/things", data=GOOD, headers=CREDENTIAL)
    assert problem(answer)["code"] == "idempotency_key_required"


def test_key_is_asked_before_the_body(framed: Framed) -> None:
    """K1."""
    answer = framed.client.post("/v1/things", data="{", headers=CREDENTIAL)
    assert problem(answer)["code"] == "idempotency_key_required"


def test_key_is_made_where_none_is_required(log: io.StringIO) -> None:
    """K3."""
    framed = build(log, IDEMPOTENCY_KEY_REQUIRED="false")
    answer = framed.client.post(
        "/v1/things", data=GOOD, headers=CREDENTIAL, content_type="application/json"
    )
    assert seen(answer)["key"].startswith("auto-")
    assert answer.headers["Idempotency-Key"] == seen(answer)["key"]
    assert answer.headers["Idempotency-Status"] == "generated"


def test_key_is_made_for_patch(framed: Framed) -> None:
    """K3: a PATCH needs none."""
    answer = framed.client.patch(f"/v1/things/{THING}", headers=CREDENTIAL)
    assert seen(answer)["key"].startswith("auto-")


def test_keys_can_be_switched_off(log: io.StringIO) -> None:
    """K11: the header is not read, and the write runs under a made key."""
    framed = build(log, FEATURE_IDEMPOTENCY_ENABLED="false")
    answer = framed.make(GOOD, headers={"Idempotency-Key": "not, read"})
    assert seen(answer)["key"].startswith("auto-")
    assert answer.headers["Idempotency-Status"] == "ignored"


@pytest.mark.parametrize("path", ["/v1/things", "/livez"])
def test_key_on_get_is_ignored(framed: Framed, path: str) -> None:
    """Section 7 of payments."""
    answer = framed.client.get(path, headers=CREDENTIAL | {"Idempotency-Key": "a,b"})
    assert answer.status_code == 200
    assert answer.headers["Idempotency-Status"] == "ignored"
    assert "Idempotency-Key" not in answer.headers


def test_error_echoes_the_key(framed: Framed) -> None:
    """K4."""
    assert framed.make("{").headers["Idempotency-Key"] == "key-1"


def test_claim_binds_key_to_method_path_and_content(framed: Framed) -> None:
    """K5."""
    found = seen(framed.make(GOOD))
    assert found["operation"] == "POST /v1/things"
    assert found["fingerprint"] == fingerprint([], json.loads(GOOD)).hex()
    answer = framed.client.post(f"/v1/things/{THING}/end", headers=KEYED)
    assert seen(answer)["operation"] == f"POST /v1/things/{THING}/end"


def test_fingerprint_is_of_what_is_said_not_how(framed: Framed) -> None:
    """K5: order and escapes do not matter, content does; no body is `{}`."""

    def of(body: str) -> str:
        return str(seen(framed.make(body))["fingerprint"])

    assert of(GOOD) == of('{"currency":"\\u0045UR","amount_minor":1099}')
    assert of(GOOD) != of(GOOD.replace("1099", "1098"))
    path = f"/v1/things/{THING}/end"
    bodies = [framed.make("", path), framed.make("{}", path)]
    assert seen(bodies[0])["fingerprint"] == seen(bodies[1])["fingerprint"]


def test_fault_of_a_keyed_body_waits_for_the_key(framed: Framed) -> None:
    """K1: a 422 is for the service to raise, once it has looked up the key."""
    found = seen(framed.make('{"amount_minor": 0, "currency": "EUR"}'))
    assert found["body"] is None
    assert [one["code"] for one in found["fault"]] == ["amount_out_of_range"]
    assert found["fingerprint"] == fingerprint([], {"amount_minor": 0, "currency": "EUR"}).hex()


def test_lone_surrogate_has_a_fingerprint_too(framed: Framed) -> None:
    """K1, AE2: the look-up of the key must not stumble over what no text column can hold."""
    found = seen(framed.make('{"amount_minor": 1, "currency": "EUR", "reference": "\\ud800"}'))
    assert found["fault"][0]["pointer"] == "/reference"
    assert len(found["fingerprint"]) == 64


# --- Bodies -------------------------------------------------------------------------------------


def plain(framed: Framed, body: str | bytes, **more: Any) -> dict[str, Any]:
    """Send a body that is refused to a route without keys."""
    answer = framed.make(body, "/v1/plain-things", **more)
    assert 400 <= answer.status_code < 500
    return problem(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nothing",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} x',
        b'{"a": 1}{"a": 1}',
        b'\xef\xbb\xbf{"amount_minor": 1}',
        '{"amount_minor": 1}'.encode("utf-16"),
        b'{"reference": "\xff"}',
        b'{"reference": "\xed\xa0\x80"}',
        b'{"amount_minor": 1, "amount_minor": 1}',
        b'{"metadata": {"a": "b", "\\u0061": "c"}}',
        b'{"amount_minor": NaN}',
        b'{"amount_minor": Infinity}',
        b'{"amount_minor": -Infinity}',
        b'{"amount_minor": 1e400}',
        b'{"amount_minor": ' + b"9" * 5_000 + b"}",
        b'{"amount_minor": 01}',
        b'{"reference": "\x00"}',
        b'{"reference": "\n"}',
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b"[" * 17 + b"]" * 17,
        b"[" * 60_000,
    ],
)
def test_what_is_not_i_json_is_400(framed: Framed, body: bytes) -> None:
    """AE1."""
    assert plain(framed, body)["code"] == "invalid_json"


def test_brackets_in_strings_are_not_depth(framed: Framed) -> None:
    """AE1."""
    body = {"amount_minor": 1, "currency": "EUR", "reference": '[[[[[[[[{{{{{{{{"\\[[[{{{'}
    assert seen(framed.make(json.dumps(body)))["body"] == body


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"reference": "a\\u0000b"}', "/reference"),
        ('{"reference": "\\ud800"}', "/reference"),
        ('{"reference": "\\udc00\\ud800"}', "/reference"),
        ('{"metadata": {"a": "\\u0000"}}', "/metadata/a"),
        ('{"a\\u0000b": 1}', "/a\ufffdb"),
        ('{"\\ud83d": 1}', "/\ufffd"),
        ('{"unknown": [1, {"b": "\\u0000"}]}', "/unknown/1/b"),
    ],
)
def test_what_is_not_text_is_422_with_its_place(framed: Framed, body: str, pointer: str) -> None:
    """AE2."""
    found = plain(framed, body)
    assert found["code"] == "validation_failed"
    assert {"pointer": pointer, "code": "forbidden_character"} in [
        {"pointer": one.get("pointer"), "code": one["code"]} for one in found["errors"]
    ]


def test_escaped_pair_of_surrogates_is_text(framed: Framed) -> None:
    """AE2: only a lone one is refused."""
    body = '{"amount_minor": 1, "currency": "EUR", "metadata": {"a": "\\ud83d\\ude00"}}'
    assert seen(framed.make(body))["body"]["metadata"] == {"a": "\U0001f600"}


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "true"])
def test_body_that_is_no_object_is_422(framed: Framed, body: str) -> None:
    assert plain(framed, body)["errors"] == [
        {"pointer": "", "code": "invalid_type", "detail": "This must be an object."}
    ]


def test_faults_of_query_and_body_are_told_together(framed: Framed) -> None:
    """AE5, AE6."""
    answer = framed.make('{"amount_minor": 0}', "/v1/plain-things?limit=1")
    places = {one.get("pointer") or one.get("parameter") for one in problem(answer)["errors"]}
    assert places == {"/amount_minor", "/currency", "limit"}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
        "application/problem+json",
        "text/json",
    ],
)
def test_other_content_is_415(framed: Framed, content_type: str | None) -> None:
    """AE7."""
    assert plain(framed, GOOD, content_type=content_type)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json "],
)
def test_json_in_utf_8_is_taken(framed: Framed, content_type: str) -> None:
    """AE7."""
    assert framed.make(GOOD, content_type=content_type).status_code == 200


def test_encoded_content_is_415(framed: Framed) -> None:
    """AE7."""
    found = plain(framed, GOOD, headers={"Content-Encoding": "gzip"})
    assert found["code"] == "unsupported_media_type"


class Untouchable(io.BytesIO):
    """A body that must not be read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("The body was read.")


def test_too_large_a_body_is_413_unread(framed: Framed) -> None:
    """AE7."""
    answer = framed.client.post(
        "/v1/plain-things",
        headers=CREDENTIAL,
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "65537", "wsgi.input": Untouchable()},
    )
    assert problem(answer)["code"] == "body_too_large"


def test_largest_body_is_read(framed: Framed) -> None:
    """AE7."""
    assert framed.make(GOOD + " " * (65_536 - len(GOOD))).status_code == 200


def test_chunked_body_is_read_up_to_its_limit(framed: Framed) -> None:
    """AE7: without a length there is still a limit."""

    def send(body: str) -> Any:
        environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        return framed.client.post(
            "/v1/plain-things",
            headers=CREDENTIAL,
            content_type="application/json",
            environ_overrides=environ
            | {"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(body.encode())},
        )

    assert send(GOOD).status_code == 200
    assert problem(send(GOOD + " " * 65_536))["code"] == "body_too_large"


def test_body_that_ends_early_is_400(framed: Framed) -> None:
    """A client that hangs up has sent nothing."""
    environ = {"CONTENT_LENGTH": "500"}
    answer = framed.make(GOOD, "/v1/plain-things", environ_overrides=environ)
    assert problem(answer)["code"] == "invalid_json"


@pytest.mark.parametrize("length", ["-1", "abc", "1.5", "0x10", "²"])
def test_content_length_that_is_no_number_is_400(framed: Framed, length: str) -> None:
    environ = {"CONTENT_LENGTH": length}
    answer = framed.make(GOOD, "/v1/plain-things", environ_overrides=environ)
    assert problem(answer)["code"] == "invalid_header"


def test_no_body_is_an_empty_object_where_nothing_is_needed(framed: Framed) -> None:
    assert seen(framed.client.patch(f"/v1/things/{THING}", headers=CREDENTIAL))["body"] == {}


def test_body_on_a_command_without_members_holds_none(framed: Framed) -> None:
    """AE4: what is not read is not accepted in silence."""
    found = seen(framed.make('{"amount_minor": 1}', f"/v1/things/{THING}/end"))
    assert [one["code"] for one in found["fault"]] == ["unknown_field"]


# --- Paths, queries, If-Match -------------------------------------------------------------------


@pytest.mark.parametrize("thing", ["1", THING.upper(), THING[:-1], THING + "0", "%00", "{id}"])
def test_bad_id_in_a_path_is_404(framed: Framed, thing: str) -> None:
    """AE6."""
    answer = framed.client.patch(f"/v1/things/{thing}", headers=CREDENTIAL)
    assert problem(answer)["code"] == "not_found"


@pytest.mark.parametrize("name", ["%00", "a%00b", "%0a", "%ff%00"])
def test_name_that_is_not_text_is_404(framed: Framed, name: str) -> None:
    """AE2."""
    answer = framed.client.get(f"/v1/named/{name}", headers=CREDENTIAL)
    assert problem(answer)["code"] == "not_found"


def test_name_in_a_path_is_given_to_the_view(framed: Framed) -> None:
    assert seen(framed.client.get("/v1/named/a%20b", headers=CREDENTIAL))["name"] == "a b"


@pytest.mark.parametrize(
    ("query", "parameter", "code"),
    [
        ("unknown=1", "unknown", "unknown_field"),
        ("limit=1&limit=1", "limit", "repeated"),
        ("limit=", "limit", "not_integer"),
        ("limit=1.0", "limit", "not_integer"),
        ("limit=+1", "limit", "not_integer"),
        ("limit=01", "limit", "not_integer"),
        ("limit=1_0", "limit", "not_integer"),
        ("limit=%EF%BC%91", "limit", "not_integer"),
        ("limit=0", "limit", "out_of_range"),
        ("limit=201", "limit", "out_of_range"),
        ("limit=" + "9" * 30, "limit", "not_integer"),
        ("cursor=", "cursor", "too_short"),
        ("cursor=a%00", "cursor", "forbidden_character"),
        ("cursor=%ff", "cursor", "forbidden_character"),
        ("cursor=%ed%a0%80", "cursor", "forbidden_character"),
        ("currency=EUR&currency=eur", "currency", "invalid_format"),
        ("metadata=1", "metadata", "invalid_type"),
        ("metadata.a=1&metadata.a=2", "metadata.a", "repeated"),
        ("metadata.a%20b=1", "metadata.a b", "invalid_format"),
        ("a%00=1", "a\ufffd", "forbidden_character"),
    ],
)
def test_bad_query_is_422(framed: Framed, query: str, parameter: str, code: str) -> None:
    """AE6."""
    found = problem(framed.client.get(f"/v1/things?{query}", headers=CREDENTIAL))
    assert found["code"] == "validation_failed"
    assert [(one["parameter"], one["code"]) for one in found["errors"]] == [(parameter, code)]


def test_query_is_read_into_its_model(framed: Framed) -> None:
    """AE6, P44: an array's name may be repeated, a dot leads into an object."""
    query = "limit=7&currency=EUR&currency=USD&metadata.a.b=c+d&metadata.e=&cursor=x%2By"
    assert seen(framed.client.get(f"/v1/things?{query}", headers=CREDENTIAL))["query"] == {
        "limit": 7,
        "currency": ["EUR", "USD"],
        "metadata": {"a.b": "c d", "e": ""},
        "cursor": "x+y",
    }


def test_query_bytes_beyond_ascii_are_utf_8(framed: Framed) -> None:
    environ = {"QUERY_STRING": "cursor=\xc3\xa9"}
    answer = framed.client.get("/v1/things", headers=CREDENTIAL, environ_overrides=environ)
    assert seen(answer)["query"] == {"cursor": "é"}


def test_dict_query_in_brackets_is_unknown(framed: Framed) -> None:
    answer = framed.client.get("/v1/things?metadata[a]=1", headers=CREDENTIAL)
    assert problem(answer)["errors"][0]["parameter"] == "metadata[a]"


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ('"3"', 3),
        ("*", None),
        ('W/"3"', -1),
        ('"abc"', -1),
        ('"03"', -1),
        ('""', -1),
        ('"' + "9" * 19 + '"', -1),
    ],
)
def test_if_match_names_a_version(framed: Framed, header: str, version: int | None) -> None:
    """P43: a weak or foreign tag is no current version."""
    answer = framed.client.patch(f"/v1/things/{THING}", headers=KEYED | {"If-Match": header})
    assert seen(answer)["if_match"] == version


@pytest.mark.parametrize("header", ["3", '"1", "2"', "", '"a', "'3'"])
def test_if_match_that_is_no_tag_is_400(framed: Framed, header: str) -> None:
    answer = framed.client.patch(f"/v1/things/{THING}", headers=KEYED | {"If-Match": header})
    assert problem(answer)["code"] == "invalid_header"
    assert problem(answer)["errors"][0]["header"] == "If-Match"


# --- Answers ------------------------------------------------------------------------------------


def test_answer_is_compact_json(framed: Framed) -> None:
    answer = framed.client.get("/livez")
    assert answer.get_data() == b'{"status":"pass"}'
    assert answer.content_type == "application/json"


# --- Rate limits --------------------------------------------------------------------------------

LIMITED = {
    "RATE_LIMIT_ENABLED": "true",
    "WEB_CONCURRENCY": "1",
    "RATE_LIMIT_ANONYMOUS": "2/day",
    "RATE_LIMIT_KEY_READ": "3/day",
    "RATE_LIMIT_KEY_WRITE": "4/day",
}


def test_each_answer_says_what_is_left(log: io.StringIO) -> None:
    """OR3: reads and writes apart; the policy stands in the line."""
    framed = build(log, **LIMITED)
    read = framed.client.get("/v1/named/x", headers=CREDENTIAL)
    assert read.headers["RateLimit-Policy"] == '"key_read";q=3;w=86400'
    assert read.headers["RateLimit"].startswith('"key_read";r=2;t=')
    written = framed.client.post("/v1/plain-things", headers=CREDENTIAL, json={})
    assert written.status_code == 422
    assert written.headers["RateLimit"].startswith('"key_write";r=3;t=')
    assert [line["rate_policy"] for line in framed.lines()] == ["key_read", "key_write"]
    assert {line["kv_state"] for line in framed.lines()} == {"off"}


def test_who_asks_too_often_is_429_and_told_when_to_come_back(log: io.StringIO) -> None:
    """OR3, AF3."""
    framed = build(log, **LIMITED)
    for _ in range(3):
        assert framed.client.get("/v1/named/x", headers=CREDENTIAL).status_code == 200
    answer = framed.client.get("/v1/named/x", headers=CREDENTIAL)
    assert problem(answer)["code"] == "rate_limited"
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["RateLimit"].startswith('"key_read";r=0;t=')


def test_a_bad_credential_is_charged_to_the_address(log: io.StringIO) -> None:
    """OR2: never to the key that it names; who has a good one still passes from there."""
    framed = build(log, **LIMITED)
    bad = {"Authorization": "Bearer bad"}
    found = [framed.client.get("/v1/named/x", headers=bad).status_code for _ in range(4)]
    assert found == [401, 401, 429, 429]
    assert framed.client.get("/openapi.json").status_code == 429
    assert framed.client.get("/v1/named/x", headers=CREDENTIAL).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.9"}
    answer = framed.client.get("/v1/named/x", headers=bad, environ_overrides=elsewhere)
    assert answer.status_code == 401


def test_what_cannot_be_read_counts_as_well(log: io.StringIO) -> None:
    """A keyed request that never reaches its service is charged here."""
    framed = build(log, **LIMITED)
    found = [framed.make("{").status_code for _ in range(6)]
    assert found == [400, 400, 400, 400, 429, 429]


def test_probes_and_metrics_have_no_limit(log: io.StringIO) -> None:
    """OR1."""
    framed = build(log, **LIMITED)
    for path in ("/livez", "/readyz", "/healthz", "/metrics") * 4:
        answer = framed.client.get(path)
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers


def test_long_work_has_a_quarter_of_the_slots(log: io.StringIO) -> None:
    """OS1: until its last byte has left; what is quick goes on beside it."""
    framed = build(log, WEB_THREADS="8", SLOT_WAIT_MS="1")
    held = [framed.client.get("/v1/long", headers=CREDENTIAL) for _ in range(2)]
    assert framed.client.get("/v1/long", headers=CREDENTIAL).status_code == 503
    assert framed.client.get("/v1/named/x", headers=CREDENTIAL).status_code == 200
    for answer in held:
        assert answer.get_data() == b"part"
        answer.close()
    assert framed.client.get("/v1/long", headers=CREDENTIAL).status_code == 200


def test_long_work_that_fails_gives_its_slot_back(log: io.StringIO) -> None:
    framed = build(log, WEB_THREADS="4", SLOT_WAIT_MS="1")
    found = [
        framed.client.get("/v1/long?fail=true", headers=CREDENTIAL).status_code for _ in range(3)
    ]
    assert found == [503, 503, 503]
    assert framed.client.get("/v1/long", headers=CREDENTIAL).status_code == 200
