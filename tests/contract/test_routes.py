"""Every route: its policy, its methods, its key; and what the boot refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

import blueprints
from blueprints.openapi import operations
from blueprints.policy import Policy
from errors import RateLimited
from services.actors import GRANTABLE, SCOPES
from tests.contract.tree import ROOT

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from tests.world import World

NOTHING = "00000000-0000-7000-8000-000000000000"
# Who may use what: the table of docs/auth.md, which shows every route.
ROW = re.compile(r"^\| ([A-Z]+) \| `(/[^`]*)` \| (fresh )?`?([a-z:]+)`? \|$", re.MULTILINE)
TABLE = {
    (method, route): Policy("fresh" if is_fresh else "scope", word) if ":" in word else Policy(word)
    for method, route, is_fresh, word in ROW.findall((ROOT / "docs/auth.md").read_text("utf-8"))
}
SCOPES_OF = {
    "nobody": frozenset(),
    "user": frozenset({"payments:create", "payments:read", "ledger:read"}),
    "operator": SCOPES,
    "stale operator": SCOPES,
}
MAY_BE_AWAY = {"/readyz", "/healthz"}  # They tell of stores that a test has not asked for.
LOG_OUT = "/v1/auth/logout"  # It would end the session that asks.
# POSTs that need no key: they have no effect of their own, or one that can be repeated.
UNKEYED = {
    "/v1/payments/cancel-by-key",
    "/v1/ledger/accounts",
    "/v1/ledger/transactions/batch",  # Every transaction has an id.
    "/v1/ledger/import",
}


def path_of(rule: Rule) -> str:
    """Fill in what a path needs."""
    return re.sub(r"<[^>]+>", NOTHING, rule.rule)


def test_route_without_a_policy_stops_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """AI7, A5."""
    app = Flask("open", static_folder=None)
    app.add_url_rule("/open", view_func=lambda: "x")
    monkeypatch.setattr(blueprints, "ALL", ())
    with pytest.raises(RuntimeError, match="Bug: /open has no policy"):
        blueprints.register_all(app)


def test_no_route_comes_after_the_boot(app: Flask) -> None:
    """A5: nobody would have looked at its policy."""
    with pytest.raises(TypeError):
        app.add_url_rule("/open", view_func=lambda: "x")


def test_every_route_has_the_policy_of_the_table(app: Flask) -> None:
    """AI7: and the table has no other; public ones under /v1 count their callers."""
    found = {(method, rule.rule): op.policy for rule, method, op in operations(app)}
    assert found == TABLE
    for rule, _, op in operations(app):
        if op.policy.kind == "public" and rule.rule.startswith("/v1/"):
            assert RateLimited in op.errors


def refused(policy: Policy, scopes: frozenset[str], kind: str) -> tuple[int, str] | None:
    """Return what a caller of this kind is told at the door; None: it may come in."""
    if policy.kind == "public":
        return None
    if kind == "nobody":
        return 401, "unauthenticated"
    lacks = policy.required_scope is not None and policy.required_scope not in scopes
    if lacks or (policy.kind == "users" and kind == "key"):
        return 403, "scope_missing"
    if policy.kind == "fresh" and kind == "stale operator":
        return 403, "reauthentication_required"
    return None


@pytest.mark.parametrize("kind", ["nobody", "key", "user", "operator", "stale operator"])
def test_every_kind_of_caller_at_every_route(world: World, kind: str) -> None:
    """A5, A6, A7, A10: the table decides, and nothing else says 401 or 403; never a 5xx."""
    headers = headers_of(world, kind)
    for (method, route), policy in TABLE.items():
        if route == LOG_OUT:
            continue
        path = re.sub(r"<[^>]+>", NOTHING, route)
        answer: Any = world.app.test_client().open(
            path, method=method, headers=headers, buffered=True
        )
        expected = refused(policy, SCOPES_OF.get(kind, GRANTABLE), kind)
        if expected is not None:
            assert (answer.status_code, answer.json["code"]) == expected, (method, route)
        elif route in MAY_BE_AWAY:
            assert answer.status_code in {200, 503}
        else:
            assert answer.status_code < 500, (method, route)
            assert answer.status_code not in {401, 403}, (method, route)


def headers_of(world: World, kind: str) -> dict[str, str]:
    """Return what a caller of this kind sends."""
    if kind == "nobody":
        return {}
    if kind == "key":
        return {"Authorization": f"Bearer {world.api_key}"}
    age_s = 301 if kind.startswith("stale") else 0
    return world.new_session(kind.rsplit(maxsplit=1)[-1], auth_age_s=age_s).headers


def test_no_route_opens_without_its_scope(world: World) -> None:
    """A6: every other scope together does not help; nobody is told more than that."""
    for rule, method, op in operations(world.app):
        required = op.policy.required_scope
        if required is None:
            continue
        weak = world.new_api_key(sorted(GRANTABLE - {required}))
        headers = {"Authorization": f"Bearer {weak}"}
        answer: Any = world.app.test_client().open(path_of(rule), method=method, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")
        assert answer.json["required_scope"] == required


def test_other_methods_are_405_with_those_that_exist(app: Flask) -> None:
    """AF4, Operations 11: OPTIONS is one of them."""
    allowed: dict[str, set[str]] = {}
    known = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        path = path_of(rule)
        # A word where an id may stand answers to the methods of both.
        allowed[path] = set(known.allowed_methods(path))
        assert allowed[path] >= (rule.methods or set())
    client = app.test_client()
    for path, methods in allowed.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            answer: Any = client.open(path, method=method)
            assert answer.json["code"] == "method_not_allowed", (method, path)
            assert set(answer.headers["Allow"].split(", ")) == methods


def test_every_post_that_moves_money_takes_a_key(app: Flask) -> None:
    """Section 7 of payments."""
    for rule, method, op in operations(app):
        if method == "POST" and rule.rule.startswith(
            ("/v1/payments", "/v1/disputes", "/v1/ledger")
        ):
            assert op.keyed is (rule.rule not in UNKEYED), rule.rule


def test_paths_are_lower_case_words(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        fixed = re.sub(r"<(?:[a-z]+:)?[a-z_]+>", "x", rule.rule)
        assert re.fullmatch(r"(/[a-z0-9.-]+)+", fixed), rule.rule


def test_every_id_in_a_path_is_checked(app: Flask) -> None:
    """AE6: a parameter called *_id is annotated UUID, so that the frame refuses what is none."""
    for rule, _, op in operations(app):
        ids = {name for name in rule.arguments if name.endswith("_id")}
        assert ids <= set(op.ids), rule.rule


def test_every_view_tells_clients_what_it_does(app: Flask) -> None:
    """Style 4: its docstring is one sentence a client understands."""
    for rule, _, op in operations(app):
        summary = (op.view.__doc__ or "").strip().partition("\n")[0]
        assert re.fullmatch(r"[A-Z].{5,98}\.", summary), rule.rule
