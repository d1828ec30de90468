"""Every route: its policy, its methods, its key; and what the boot refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

import blueprints
from blueprints.openapi import operations
from errors import RateLimited
from services.actors import GRANTABLE, SCOPES

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from tests.world import World

NOTHING = "00000000-0000-7000-8000-000000000000"
# Section 2 of the auth page: who may use what. The longest prefix decides.
PUBLIC = {"/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs", "/problems/<code>"}
WELL_KNOWN = re.compile(r"(/t/<tenant>)?/\.well-known/[a-z.-]+")
# Users' own things: these are public and throttled, /me is anybody's, the others are users'.
OF_NOBODY_YET = {
    "/v1/auth/register",
    "/v1/auth/login",
    "/v1/auth/refresh",
    "/v1/auth/logout",
    "/v1/auth/password/forgot",
    "/v1/auth/password/reset",
    "/v1/auth/email/verify",
    "/v1/auth/email/verify/resend",
}
SCOPES_OF = {
    "/v1/payments": "payments:",
    "/v1/captures": "payments:",
    "/v1/refunds": "payments:",
    "/v1/disputes": "payments:",
    "/v1/idempotency-keys": "payments:",
    "/v1/currencies": "payments:",
    "/v1/ledger": "ledger:",
    "/v1/webhook-endpoints": "webhooks:",
    "/v1/events": "webhooks:",
}
# POSTs that need no key: they have no effect of their own, or one that can be repeated.
UNKEYED = {
    "/v1/payments/cancel-by-key",
    "/v1/ledger/accounts",
    "/v1/ledger/transactions/batch",  # Every transaction has an id.
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


def test_every_route_has_the_policy_of_its_prefix(app: Flask) -> None:
    """AI7: the table of the auth page."""
    for rule, _, op in operations(app):
        if rule.rule in PUBLIC or WELL_KNOWN.fullmatch(rule.rule):
            assert op.policy.kind == "public"
            continue
        if rule.rule.startswith("/v1/auth/"):
            of_users = "any" if rule.rule == "/v1/auth/me" else "users"
            assert op.policy.kind == ("public" if rule.rule in OF_NOBODY_YET else of_users)
            assert op.policy.kind != "public" or RateLimited in op.errors
            continue
        prefix = next(each for each in SCOPES_OF if rule.rule.startswith(each))
        assert op.policy.kind == "scope"
        assert op.policy.required_scope in SCOPES
        assert str(op.policy.required_scope).startswith(SCOPES_OF[prefix]), rule.rule


def test_no_route_opens_without_a_credential(app: Flask) -> None:
    """A6."""
    client = app.test_client()
    for rule, method, op in operations(app):
        if op.policy.kind != "public":
            answer: Any = client.open(path_of(rule), method=method)
            assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")


def test_no_route_opens_without_its_scope(world: World) -> None:
    """A6: every other scope together does not help."""
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
