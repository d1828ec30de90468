"""The running service against its own description: no surprise, no answer that is not described."""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from blueprints.openapi import operations
from services.actors import GRANTABLE, SCOPES
from tests.teller import Teller
from tests.world import new_key

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from tests.world import World

# Enough that each operation meets every kind of its refusals; the suite has other work too.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


PROBES = {"/readyz", "/healthz"}


def test_fuzzed_requests_get_described_answers(world: World) -> None:
    """AE8, AF4: whatever is sent, a described answer comes, and none of 5xx.

    FUZZ_SEED repeats a run, FUZZ_EXAMPLES makes it longer.
    """
    print(f"FUZZ_SEED={SEED}")  # noqa: T201  # pytest shows it if the test fails.
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_wsgi("/openapi.json", _closing(world), config=config)
    seen: Counter[int] = Counter()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
                seen += _fuzz(operation, mode, world)
    assert {200, 201, 400, 404, 422} <= set(seen), seen


def _closing(world: World) -> WSGIApplication:
    """Return the service behind what a server does: read each answer, then close it."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        with contextlib.closing(cast("Any", world.app(environ, start_response))) as body:
            return list(body)

    return serve


def _can_be_wrong(operation: Any) -> bool:
    return any([*operation.query, *operation.headers, *operation.body])


def _fuzz(operation: Any, mode: GenerationMode, world: World) -> Counter[int]:
    seen: Counter[int] = Counter()
    is_human = _for_people(operation, world)

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def one(case: Any, *, real: bool) -> None:
        if real and mode is GenerationMode.POSITIVE:
            _make_real(case, world)
        bearer = world.new_session("operator").token if is_human else world.api_key
        answer = case.call(headers={"Authorization": f"Bearer {bearer}"})
        seen[answer.status_code] += 1
        # A probe that says "not now" has answered: on a busy machine that is the truth.
        case.validate_response(answer, checks=CHECKS[1:] if case.path in PROBES else CHECKS)

    one()
    return seen


def _for_people(operation: Any, world: World) -> bool:
    """Tell whether a route lets in no API key, whatever its scopes are."""
    wanted = (operation.method.upper(), operation.path)
    (policy,) = [
        op.policy
        for rule, method, op in operations(world.app)
        if (method, re.sub(r"<([^>]+)>", r"{\1}", rule.rule)) == wanted
    ]
    return policy.kind in {"users", "fresh"} or policy.required_scope in SCOPES - GRANTABLE


def _make_real(case: Any, world: World) -> None:
    """Let a request meet what exists, under a key of its own: else most would stop at 404."""
    if "payment_id" in case.path_parameters:
        make = world.authorized if case.path.endswith(("capture", "void")) else world.payment
        case.path_parameters["payment_id"] = make()
        case.headers.pop("If-Match", None)
    if {"transaction_id", "hold_id"} & set(case.path_parameters):
        transaction_id, hold_id = Teller(world).examples()
        real = {"transaction_id": str(transaction_id), "hold_id": str(hold_id)}
        case.path_parameters |= {name: real[name] for name in case.path_parameters}
    if case.method == "POST" and case.path in {"/v1/ledger/transactions", "/v1/ledger/holds"}:
        Teller(world).examples()
        leg = {"debit": "shop", "credit": "bank", "amount_minor": 1, "currency": "EUR"}
        case.body["legs"] = [leg]
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = new_key()
    if case.method == "POST" and case.path == "/v1/payments":
        case.body |= {"user_id": world.user_id, "currency": "EUR"}
