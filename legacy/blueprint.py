"""The move over HTTP, for operators (2.7). The routes come and go with LEGACY_CONFIG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from flask import Blueprint, Response, current_app

from blueprints.edge import Call, operation, respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from blueprints.policy import fresh, scope
from errors import CursorInvalid, NotFound
from legacy import status
from legacy.bodies import (
    ItemList,
    MigrationAnswer,
    MoveAnswer,
    MoveBody,
    MoveList,
    PageQuery,
    RunList,
)
from legacy.links import DOMAINS, NoLink
from legacy.phases import Ask
from legacy.refusals import GateFailed, LegacyDown, MigrationSwitching, PhaseChanged
from legacy.rows import drift_runs, phases
from legacy.stored_moves import StoredMoves
from services.cursors import Cursors

if TYPE_CHECKING:
    from legacy.parts import Parts
    from services.idempotency import Answer

routes = Blueprint("migration", __name__)

READ, CHANGE = scope("ops:read"), fresh("ops:write")
NEWEST = str(UUID(int=2**128 - 1))  # No UUIDv7 is larger.


@routes.get("/v1/ops/migration")
@operation(policy=READ, answers={200: MigrationAnswer})
def show(call: Call) -> Response:
    """Tell where every domain stands, and what its next step waits for."""
    parts = _parts()
    schema = parts.phases.schema()
    told = {name: getattr(schema, name) for name in ("head", "required", "pending", "changed")}
    found = status.domains(parts, call.actor.tenant_id)
    return respond(200, MigrationAnswer, {"schema": told, "domains": found})


@routes.post("/v1/ops/migration/<domain>/moves")
@operation(
    policy=CHANGE,
    body=MoveBody,
    answers={200: MoveAnswer},
    errors=(NotFound, PhaseChanged, GateFailed, MigrationSwitching, LegacyDown),
    keyed=True,
)
def move(call: Call, domain: str) -> Response:
    """Move a domain one step, forward or back; a closed gate refuses it."""
    _known(domain)
    held = services()
    moves = StoredMoves(_parts(), held.rate_limits, key_ttl_s=held.config.idempotency_ttl_s)
    stored = moves.stored(call.claim)
    if stored is None:
        if call.fault is not None:
            raise call.fault
        ask = Ask(
            tenant_id=call.actor.tenant_id,
            domain=domain,
            by=call.actor.subject,
            reason=call.body.reason,
        )
        try:
            stored = moves.move(call.claim, ask, call.body.from_, call.body.to)
        except NoLink as error:
            raise LegacyDown(headers={"Retry-After": "5"}) from error
    return _answered(stored)


@routes.get("/v1/ops/migration/<domain>/moves")
@operation(policy=READ, query=PageQuery, answers={200: MoveList}, errors=(NotFound, CursorInvalid))
def moves(call: Call, domain: str) -> Response:
    """List the steps that a domain took, newest first."""
    _known(domain)
    bound = {"tenant": call.actor.tenant_id, "domain": domain}
    limit, before = call.query.limit, _after(call, "moves", bound, NEWEST)
    with _parts().db.read() as conn:
        rows = phases.list_moves(
            conn,
            tenant_id=call.actor.tenant_id,
            domain=domain,
            before_id=UUID(before),
            row_limit=limit + 1,
        )
    data = [status.move_json(row) for row in rows[:limit]]
    more = _cursors().sign("moves", [rows[limit - 1].id], bound) if len(rows) > limit else None
    return respond(200, MoveList, {"data": data, "next_cursor": more})


@routes.get("/v1/ops/drift")
@operation(policy=READ, query=PageQuery, answers={200: RunList}, errors=(CursorInvalid,))
def runs(call: Call) -> Response:
    """List the comparisons of both stores, newest first."""
    bound = {"tenant": call.actor.tenant_id}
    limit, before = call.query.limit, _after(call, "drift", bound, NEWEST)
    with _parts().db.read() as conn:
        rows = drift_runs.list_runs(
            conn,
            tenant_id=call.actor.tenant_id,
            before_id=UUID(before),
            row_limit=limit + 1,
        )
    more = _cursors().sign("drift", [rows[limit - 1].run_id], bound) if len(rows) > limit else None
    return respond(200, RunList, {"data": rows[:limit], "next_cursor": more})


@routes.get("/v1/ops/drift/<run_id>")
@operation(policy=READ, query=PageQuery, answers={200: ItemList}, errors=(NotFound, CursorInvalid))
def run(call: Call, run_id: UUID) -> Response:
    """Read one comparison, with the rows that differed."""
    tenant_id = call.actor.tenant_id
    bound = {"tenant": tenant_id, "run": str(run_id)}
    limit, after = call.query.limit, _after(call, "drift_items", bound, "")
    with _parts().db.read() as conn:
        found = drift_runs.get(conn, tenant_id=tenant_id, run_id=run_id)
        if found is None:
            raise NotFound
        rows = drift_runs.list_items(
            conn, tenant_id=tenant_id, run_id=run_id, after_id=after, row_limit=limit + 1
        )
    last = [rows[limit - 1].entity_id] if len(rows) > limit else None
    more = None if last is None else _cursors().sign("drift_items", last, bound)
    return respond(200, ItemList, {"run": found, "data": rows[:limit], "next_cursor": more})


def _parts() -> Parts:
    return cast("Parts", current_app.extensions["legacy"])


def _known(domain: str) -> None:
    if domain not in DOMAINS:
        raise NotFound


def _cursors() -> Cursors:
    return Cursors(*services().config.subkeys("cursor").values())


def _after(call: Call, name: str, bound: dict[str, Any], first: str) -> str:
    cursor = call.query.cursor
    return str(_cursors().read(name, cursor, bound)[0]) if cursor else first


def _answered(answer: Answer) -> Response:
    now = exchange()
    if now.idempotency is None:
        now.idempotency = "replayed" if answer.replayed else "stored"
        now.answer_headers["Idempotency-Status"] = now.idempotency
    if answer.replayed:
        now.answer_headers["Idempotent-Replayed"] = "true"
    return respond(answer.status, MoveAnswer, answer.data)
