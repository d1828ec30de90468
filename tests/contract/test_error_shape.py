"""One shape for every refusal of every route; bad input changes nothing and is never echoed."""

from __future__ import annotations

import functools
import json
import random
import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from blueprints.bodies.postings import BatchBody
from blueprints.examples import example
from blueprints.openapi import described, operations
from services.actors import GRANTABLE, SCOPES, Actor
from tests.contract.test_routes import NOTHING, path_of
from tests.teller import SCOPES as OF_TELLERS
from tests.teller import Teller
from tests.world import World, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.test import TestResponse

SECRET = "Zq7vSecretValue"  # It is sent as a value everywhere, and must come back from nowhere.
MEMBERS = [
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
WRONG = [
    "null", "true", "0", "-1", "1.0", "1e3", "1e400", "NaN", "1000000000000000", "9" * 400,
    '""', f'"{SECRET}"', f'["{SECRET}"]', f'{{"{SECRET[:4]}": "{SECRET}"}}', f'"{SECRET * 50}"',
    '"\\u0000"', f'"{SECRET}\\ud800"', '"\x00"', "[" * 30, "'a'", '"usd"', '"XXX"', '"2026-01-01"',
]  # fmt: skip


def refused(answer: TestResponse, world: World) -> dict[str, Any]:
    """Return a problem whose shape is checked; no value of the request is in it."""
    assert 400 <= answer.status_code < 500, answer.get_data()
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = answer.get_json()
    assert list(found)[: len(MEMBERS)] == MEMBERS
    assert found["status"] == answer.status_code
    assert found["request_id"] == answer.headers["X-Request-ID"]
    _problem(world.app).validate(found)
    assert SECRET not in answer.get_data(as_text=True) + str(answer.headers)
    return found


@functools.lru_cache(maxsize=1)  # To read a schema of this size takes longer than a request.
def _problem(app: Flask) -> Any:
    schemas = described(app)[0]["components"]
    return jsonschema_rs.validator_for({**schemas["schemas"]["Problem"], "components": schemas})


def bodies(schema: dict[str, Any], known: dict[str, Any], user_id: str) -> Iterator[bytes]:
    """Yield more than 200 bodies that break `schema`, or JSON itself."""
    draw = random.Random(3)
    members = {
        name: json.dumps(example(part, known, name)) for name, part in schema["properties"].items()
    }
    members |= {"user_id": json.dumps(user_id)} if "user_id" in members else {}
    whole = _object(members)
    for name, value in members.items():
        yield from (_object(members | {name: wrong}) for wrong in WRONG)
        yield whole[:-1] + f', "{name}": {value}}}'.encode()
    for wrong in WRONG:
        yield _object(members | {"unknown": wrong})
        yield _object(members | {f"a{SECRET[:2]}": wrong, "tenant_id": f'"{SECRET}"'})
        yield wrong.encode()
    for name in schema.get("required", []):
        yield _object({each: value for each, value in members.items() if each != name})
    yield from (whole[: draw.randrange(1, len(whole))] for _ in range(60))
    yield from (_scratched(whole, draw) for _ in range(60))
    yield from (b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"), b"\x00", b"[]")


def _object(members: dict[str, str]) -> bytes:
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}").encode()


def _scratched(whole: bytes, draw: random.Random) -> bytes:
    broken = bytearray(whole)
    broken[draw.randrange(len(broken))] = draw.choice(b"\x00\x01\x80\xff\xc3")
    return bytes(broken)


def _fits(body: bytes, check: Any) -> bool:
    """Tell whether a body is right by the description, though it was made to be wrong."""
    try:
        found = json.loads(body, object_pairs_hook=_once)
        return isinstance(found, dict) and bool(check.is_valid(found))
    except ValueError:  # No JSON, or with a lone surrogate, or a name twice.
        return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


@pytest.mark.timeout(900)  # 45 s of CPU, which a busy machine has not got in 240 s.
def test_200_bad_bodies_per_route_are_refused_and_change_nothing(world: World) -> None:
    """Proofs of architecture: 0 answers of 5xx, 0 echoed values; nothing is written."""
    document = described(world.app)[0]
    known = document["components"]["schemas"]
    payment_id = world.authorized()
    dispute_id = world.disputed(world.captured())
    endpoint, _ = world.services.webhooks.create("default", "https://a.example/", "cli:test")
    transaction_id, hold_id = Teller(world).examples()
    before = _written(world)
    for rule, method, op in operations(world.app):
        if op.body is None:
            continue
        schema = known[op.body.__name__]
        check = jsonschema_rs.validator_for({**schema, "components": document["components"]})
        path = rule.rule.replace("<payment_id>", payment_id).replace("<dispute_id>", dispute_id)
        path = path.replace("<endpoint_id>", str(endpoint.id)).replace("<hold_id>", str(hold_id))
        path = path.replace("<transaction_id>", str(transaction_id))
        path = re.sub(r"<[^>]+>", NOTHING, path)
        wrong = [one for one in bodies(schema, known, world.user_id) if not _fits(one, check)]
        headers = _credential(world, op)
        for body in random.Random(5).sample(wrong, 200):
            answer = _send(world, path, method, body, headers)
            if op.body is BatchBody and answer.status_code == 200:
                assert _all_invalid(answer)
                continue
            found = refused(answer, world)
            assert found["code"] in {"invalid_json", "validation_failed"}, (body[:200], found)
    assert _written(world) == before


def _all_invalid(answer: TestResponse) -> bool:
    """Tell whether a batch, whose items are refused one by one, has done nothing."""
    assert SECRET not in answer.get_data(as_text=True)
    results: Any = answer.get_json()
    return {each["outcome"] for each in results["results"]} == {"invalid"}


def _credential(world: World, op: Any) -> dict[str, str]:
    """Return what a route wants that no API key has: the session of an operator."""
    required = op.policy.required_scope
    is_human = op.policy.kind in {"users", "fresh"} or required in SCOPES - GRANTABLE
    return world.new_session("operator").headers if is_human else {}


def _send(
    world: World, path: str, method: str, body: bytes, headers: dict[str, str] | None = None
) -> TestResponse:
    given = {
        "Authorization": f"Bearer {world.api_key}",
        "Idempotency-Key": new_key(),
        "Content-Type": "application/json",
    }
    return world.app.test_client().open(
        path, method=method, data=body, headers=given | (headers or {})
    )


def _written(world: World) -> list[tuple[Any, ...]]:
    """Return what a refused request must leave as it was."""
    return world.rows(
        "SELECT (SELECT count(*) FROM payments), (SELECT sum(version) FROM payments),"
        " (SELECT count(*) FROM payment_events), (SELECT count(*) FROM idempotency_keys),"
        " (SELECT count(*) FROM ledger_entries), (SELECT count(*) FROM ledger_transactions),"
        " (SELECT count(*) FROM webhook_endpoints),"
        " (SELECT max(updated_at) FROM webhook_endpoints), (SELECT count(*) FROM api_keys),"
        " (SELECT count(*) FROM users WHERE status <> 'active' OR password_hash IS NOT NULL)"
    )


NO_RECEIPTS = ("feature_disabled", "/receipt")


def test_what_is_not_there_is_404_on_every_route(world: World) -> None:
    """AE6, A2: unknown, malformed and another tenant's ids look alike."""
    world.services.tenants.create("other", "Other", "cli:test")
    other = World.__new__(World)
    other.app, other.services = world.app, world.services
    other.user_id = str(other.new_user("other").id)
    other.api_key = other.new_api_key(tenant_id="other")
    payment_id = other.captured()
    transaction_id, hold_id = Teller(other, Actor("other", "key:teller", OF_TELLERS)).examples()
    foreign_ids = {
        "payment_id": payment_id,
        "capture_id": other.get(f"/v1/payments/{payment_id}/captures").json["data"][0]["id"],
        "refund_id": other.command(payment_id, "refunds", {"amount_minor": 1}).json["id"],
        "dispute_id": other.disputed(payment_id),
        "transaction_id": str(transaction_id),
        "hold_id": str(hold_id),
    }
    for rule, method, op in operations(world.app):
        for name, foreign in foreign_ids.items():
            if op.policy.kind == "public" or name not in rule.arguments:
                continue
            body = json.dumps(_least(world, op)).encode()
            for each in (
                NOTHING,
                foreign,
                "1",
                foreign.upper(),
                f"urn:uuid:{foreign}",
                "%00",
                "a" * 36,
            ):
                path = rule.rule.replace(f"<{name}>", each)
                code = refused(_send(world, path, method, body), world)["code"]
                # Without a key to sign with no receipt is looked for.
                assert code == "not_found" or (code, rule.rule[-8:]) == NO_RECEIPTS
    assert other.read(payment_id)["version"] == 4


def _least(world: World, op: Any) -> dict[str, Any]:
    """Return a body that fits."""
    if op.body is None:
        return {}
    known = described(world.app)[0]["components"]["schemas"]
    schema = known[op.body.__name__]
    return {
        name: example(schema["properties"][name], known, name)
        for name in schema.get("required", [])
    }


BAD_HEADERS: list[tuple[dict[str, str], int, str]] = [
    ({"Authorization": ""}, 401, "unauthenticated"),
    ({"Authorization": "Basic YTpi"}, 401, "unauthenticated"),
    ({"Authorization": f"Bearer {SECRET}"}, 401, "access_token_invalid"),
    ({"Authorization": f"Bearer srr_{SECRET}"}, 401, "access_token_invalid"),
    ({"Authorization": f"Bearer srk_default_{SECRET}"}, 401, "api_key_invalid"),
    ({"Strongroom-Tenant": "other"}, 403, "tenant_mismatch"),
    ({"Idempotency-Key": ""}, 400, "idempotency_key_invalid"),
    ({"Idempotency-Key": f"{SECRET},b"}, 400, "idempotency_key_invalid"),
    ({"Idempotency-Key": "a" * 256}, 400, "idempotency_key_invalid"),
    ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
]


def test_bad_headers_are_refused_on_every_write(world: World) -> None:
    """The paragraph "Bad input": a stable code, nothing changed."""
    before = _written(world)
    for headers, status, code in BAD_HEADERS:
        for rule, method, op in operations(world.app):
            if op.keyed:
                answer = _send(world, path_of(rule), method, b"{}", headers)
                assert (answer.status_code, refused(answer, world)["code"]) == (status, code)
    assert _written(world) == before


def test_too_large_a_body_is_413_on_every_write(world: World) -> None:
    """AE7."""
    for rule, method, op in operations(world.app):
        if method == "POST" and op.policy.kind != "public" and not op.streams:
            headers = _credential(world, op)
            size, code = (
                (8_388_609, "batch_too_large") if op.lines_of else (65_537, "body_too_large")
            )
            answer = _send(world, path_of(rule), method, b" " * size, headers)
            assert refused(answer, world)["code"] == code


def test_a_body_of_credentials_is_small(world: World) -> None:
    """AE7: 4096 bytes, then 413; nothing of it is read."""
    found = [op for _, _, op in operations(world.app) if op.body_max_bytes]
    assert {op.body_max_bytes for op in found} == {4096}
    for rule, method, op in operations(world.app):
        if op.body_max_bytes:
            headers = _credential(world, op)
            answer = _send(world, path_of(rule), method, b" " * 4097, headers)
            assert refused(answer, world)["code"] == "body_too_large"
            assert _send(world, path_of(rule), method, b" " * 4096, headers).status_code == 400


def test_revoked_key_is_401(world: World) -> None:
    """A12."""
    key = world.new_api_key()
    world.services.api_keys.revoke("default", key.split("_")[2], "cli:test")
    answer = world.get("/v1/payments", Authorization=f"Bearer {key}")
    assert refused(answer, world)["code"] == "api_key_invalid"


BAD_QUERIES = [
    f"unknown={SECRET}", "limit=0", "limit=201", "limit=1&limit=2", f"limit={SECRET}",
    "status=new", "currency=usd", "user_id=1", "created_gte=yesterday", "amount_gte=-1",
    "amount_gte=1.5", "amount_lte=99999999999999999999", "reference=%00", "metadata.a/b=1",
    "cursor=%ff",
]  # fmt: skip


def test_bad_query_is_422_with_its_parameter(world: World) -> None:
    """AE6."""
    for query in BAD_QUERIES:
        found = refused(world.get(f"/v1/payments?{query}"), world)
        assert found["code"] == "validation_failed"
        assert found["errors"][0]["parameter"] == query.partition("=")[0]


def test_bad_cursor_is_400(world: World) -> None:
    """P45."""
    for cursor in (SECRET, "a.b", "a.b.c", ".", "%C3%A9", "eyJhIjoxfQ.aaaaaa.bbbbbbbb"):
        answer = world.get(f"/v1/payments?cursor={cursor}")
        assert refused(answer, world)["code"] == "cursor_invalid"


def test_last_resort_tells_nothing(world: World) -> None:
    """AF4, ASVS 16.5.4: no stack, no SQL, no host."""
    world.services.db.close()
    world.services.payment_queries.get = None  # type: ignore[method-assign, assignment]
    answer = world.get(f"/v1/payments/{NOTHING}")
    text = answer.get_data(as_text=True)
    assert answer.status_code >= 500
    assert not re.search("Traceback|NoneType|psycopg|SELECT|127.0.0.1", text)
