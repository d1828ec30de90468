"""The move over HTTP: where it stands, steps under a key, comparisons page by page (2.7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from blueprints.openapi import described, operations
from blueprints.policy import Policy
from legacy import drift
from tests.legacy.sample_rows import soon
from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.legacy.shops import Shop

    Make = Callable[..., Shop]

READ, CHANGE = Policy("scope", "ops:read"), Policy("fresh", "ops:write")
ROUTES = {
    ("GET", "/v1/ops/migration"): READ,
    ("POST", "/v1/ops/migration/<domain>/moves"): CHANGE,
    ("GET", "/v1/ops/migration/<domain>/moves"): READ,
    ("GET", "/v1/ops/drift"): READ,
    ("GET", "/v1/ops/drift/<run_id>"): READ,
}
PATH = "/v1/ops/migration/users/moves"


def fresh(world: Shop, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Ask as the operator, who has just given the password."""
    keyed = {"Idempotency-Key": new_key(), **headers}
    sent = {"Authorization": f"Bearer {world.operator.token}", **keyed}
    return world.app.test_client().open(path, method=method, json=body, headers=sent, buffered=True)


def test_the_routes_come_with_the_map(shop_world: Make) -> None:
    """AI7, AE8: policies, and a valid description with examples that fit."""
    world = shop_world(2)
    assert {
        (method, rule.rule): op.policy
        for rule, method, op in operations(world.app)
        if op.view.__module__ == "legacy.blueprint"
    } == ROUTES
    document: Any = described(world.app)[0]
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        (example,) = schema["examples"]
        faults = list(jsonschema_rs.Draft202012Validator(whole).iter_errors(example))
        assert faults == [], (name, example)
    for method, route in ROUTES:
        shown = document["paths"][re.sub(r"<(\w+)>", r"{\1}", route)][method.lower()]
        assert shown["summary"]


def test_only_operators_come_in(shop_world: Make) -> None:
    """A5 to A7: a key may look, if it has the scope; nobody else."""
    world = shop_world(2)
    for method, route in ROUTES:
        path = route.replace("<domain>", "users").replace("<run_id>", str(uuid4()))
        nobody = world.app.test_client().open(path, method=method, json={})
        assert nobody.status_code == 401
        by_key = world.asked(method, path, world.api_key, {})
        expected = {"GET": {200, 404}, "POST": {403}}[method]
        assert by_key.status_code in expected, (method, path)
        weak = world.new_api_key(["payments:read"])
        assert world.asked(method, path, weak, {}).json["code"] == "scope_missing"


def test_where_everything_stands_is_told(shop_world: Make) -> None:
    """2.7: every member, exactly as described."""
    world = shop_world(2)
    told = world.get("/v1/ops/migration").json
    document: Any = described(world.app)[0]
    schema = {"$ref": "#/components/schemas/MigrationAnswer", "components": document["components"]}
    jsonschema_rs.validate(schema, told)
    assert (told["schema"]["pending"], told["schema"]["changed"]) == ([], [])
    users, payments = told["domains"]
    assert (users["domain"], users["phase"], users["name"]) == ("users", 2, "dual write")
    assert (users["truth"], users["flag"], users["flag_conflict"]) == ("legacy", False, True)
    assert (users["backfill"]["percent"], users["drift"]) == (0, None)
    closed = {gate["name"] for gate in users["next"]["gates"] if not gate["ok"]}
    assert (users["next"]["to"], closed) == (3, {"backfill"})
    assert payments["domain"] == "payments"


def test_a_step_is_taken_once_for_each_key(shop_world: Make) -> None:
    """2.7: 200 the move; the same key gives the same answer, another one 409 phase_changed."""
    world = shop_world(2)
    world.rows(
        "INSERT INTO backfill_cursors (tenant_id, domain, finished_at)"
        " VALUES ('default', 'users', now()) RETURNING 1"
    )
    key, body = new_key(), {"from": 2, "to": 3, "reason": "all is there"}
    first, again = (fresh(world, "POST", PATH, body, **{"Idempotency-Key": key}) for _ in range(2))
    assert first.status_code == 200, first.json
    assert (first.json["from"], first.json["to"], first.json["reason"]) == (2, 3, "all is there")
    assert first.json["by"] == f"user:{world.operator.user_id}"
    assert {gate["name"] for gate in first.json["gates"]} == {"backfill", "rejects", "backlog"}
    assert again.get_data() == first.get_data()
    assert again.headers["Idempotency-Status"] == "replayed"
    other = {"from": 3, "to": 2, "reason": "all is there"}
    reused = fresh(world, "POST", PATH, other, **{"Idempotency-Key": key})
    assert (reused.status_code, reused.json["code"]) == (422, "idempotency_key_reused")
    stale = fresh(world, "POST", PATH, body)
    assert (stale.status_code, stale.json["code"]) == (409, "phase_changed")
    assert world.rows("SELECT phase FROM migration_state WHERE domain = 'users'") == [(3,)]
    assert world.rows("SELECT count(*) FROM migration_moves") == [(1,)]
    back = fresh(world, "POST", PATH, other)
    assert back.status_code == 200
    listed = world.get(f"{PATH}?limit=1").json
    rest = world.get(f"{PATH}?limit=1&cursor={listed['next_cursor']}").json
    assert [each["to"] for each in [*listed["data"], *rest["data"]]] == [2, 3]
    assert (rest["next_cursor"], rest["data"]) == (None, [first.json])
    audited = world.rows("SELECT count(*) FROM audit_log WHERE event = 'legacy_phase_changed'")
    assert audited == [(2,)]


def test_a_step_is_refused_with_all_its_reasons(shop_world: Make) -> None:
    """2.7: one entry of errors a gate; nothing has changed."""
    world = shop_world(3)
    body = {"from": 3, "to": 4, "reason": "now"}
    refused = fresh(world, "POST", PATH, body)
    assert (refused.status_code, refused.json["code"]) == (409, "gate_failed")
    named = {fault["pointer"] for fault in refused.json["errors"]}
    assert named == {"/gates/digest", "/gates/shadow"}
    two = fresh(world, "POST", PATH, {"from": 3, "to": 1, "reason": "far"})
    assert (two.status_code, two.json["code"]) == (422, "validation_failed")
    for wrong in ({"from": 0, "to": 1, "reason": "x"}, {"to": 2}, {"from": 3, "to": 2}):
        assert fresh(world, "POST", PATH, wrong).json["code"] == "validation_failed"
    unknown = fresh(world, "POST", "/v1/ops/migration/cats/moves", body)
    assert unknown.json["code"] == "not_found"
    assert world.get("/v1/ops/migration/cats/moves").json["code"] == "not_found"
    assert world.rows("SELECT phase FROM migration_state WHERE domain = 'users'") == [(3,)]


def test_who_gave_the_password_long_ago_moves_nothing(shop_world: Make) -> None:
    """A8: a fresh session."""
    world = shop_world(2)
    world.rows(
        "UPDATE auth_sessions SET auth_time = now() - interval '1 day' WHERE id = %s RETURNING 1",
        world.operator.session_id,
    )
    refused = fresh(world, "POST", PATH, {"from": 2, "to": 1, "reason": "x"})
    if refused.status_code == 200:
        pytest.fail("a session that is not fresh has moved a domain")
    assert refused.status_code in {401, 403}


def test_comparisons_are_read_page_by_page(shop_world: Make) -> None:
    """V6: runs, newest first; of one its rows, by id, without a value."""
    world = shop_world(3)
    for number in range(2, 5):
        row = {**world.rows_of("users")["1"].row, "legacy_id": str(number)}
        world.store("users").create(
            {**row, "email": f"u{number}@example.org"}, f"op{number}", soon()
        )
    for _ in range(2):
        world.parts.verifier.run(drift.Ask(tenant_id="default", domain="users", by="cli:test"))
    first = world.get("/v1/ops/drift?limit=1").json
    rest = world.get(f"/v1/ops/drift?cursor={first['next_cursor']}").json
    runs = [*first["data"], *rest["data"]]
    assert [run["status"] for run in runs] == ["drift", "drift"]
    assert runs[0]["run_id"] > runs[1]["run_id"]
    path = f"/v1/ops/drift/{runs[0]['run_id']}"
    page = world.get(f"{path}?limit=2").json
    more = world.get(f"{path}?cursor={page['next_cursor']}").json
    items = [*page["data"], *more["data"]]
    assert [(item["entity_id"], item["kind"]) for item in items] == [
        (str(number), "missing_in_new") for number in range(2, 5)
    ]
    assert (page["run"]["missing_in_new"], more["next_cursor"]) == (3, None)
    assert world.get(f"/v1/ops/drift/{uuid4()}").json["code"] == "not_found"
    wrong = world.get(f"/v1/ops/drift?cursor={page['next_cursor']}")
    assert wrong.json["code"] == "cursor_invalid"
