"""Seals and proofs over HTTP: what anybody can check without trusting us (ledger page, 9, 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from blueprints.bodies.ledger_proofs import (
    CheckpointQuery,
    CheckpointsAnswer,
    CheckpointsQuery,
    ConsistencyAnswer,
    ConsistencyQuery,
    ProofAnswer,
    SealKeysAnswer,
)
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope
from errors import CursorInvalid, FeatureDisabled, NotFound, NotSealed

if TYPE_CHECKING:
    from uuid import UUID

routes = Blueprint("ledger_proofs", __name__)

READ = scope("ledger:read")
NOTE = "text/plain"


@routes.get("/v1/ledger/checkpoint")
@operation(policy=READ, query=CheckpointQuery, answers={200: NOTE}, errors=(NotFound, NotSealed))
def checkpoint(call: Call) -> Response:
    """Read a signed checkpoint, the newest one or that of a size."""
    return _note(services().proofs.checkpoint(call.actor.tenant_id, call.query.tree_size))


@routes.get("/v1/ledger/checkpoints")
@operation(
    policy=READ, query=CheckpointsQuery, answers={200: CheckpointsAnswer}, errors=(CursorInvalid,)
)
def checkpoints(call: Call) -> Response:
    """List signed checkpoints, newest first."""
    query = call.query
    page = services().proofs.checkpoints(call.actor.tenant_id, query.limit, query.cursor)
    return respond(200, CheckpointsAnswer, page)


@routes.get("/v1/ledger/keys")
@operation(policy=READ, answers={200: SealKeysAnswer})
def keys(call: Call) -> Response:
    """List the public keys that sign checkpoints and receipts, now and formerly."""
    return respond(200, SealKeysAnswer, {"data": services().proofs.keys(call.actor.tenant_id)})


@routes.get("/v1/ledger/transactions/<transaction_id>/proof")
@operation(
    policy=READ,
    query=CheckpointQuery,
    answers={200: ProofAnswer},
    errors=(NotFound, NotSealed),
    cost="heavy",
)
def proof(call: Call, transaction_id: UUID) -> Response:
    """Prove that a transaction is in the sealed book."""
    found = services().proofs.proof(call.actor, transaction_id, call.query.tree_size)
    return respond(200, ProofAnswer, found)


@routes.get("/v1/ledger/transactions/<transaction_id>/receipt")
@operation(policy=READ, answers={200: NOTE}, errors=(NotFound, FeatureDisabled))
def receipt(call: Call, transaction_id: UUID) -> Response:
    """Read a signed receipt of a transaction, before or after it is sealed."""
    return _note(services().proofs.receipt(call.actor, transaction_id))


@routes.get("/v1/ledger/consistency")
@operation(
    policy=READ,
    query=ConsistencyQuery,
    answers={200: ConsistencyAnswer},
    errors=(NotFound, NotSealed),
    cost="heavy",
)
def consistency(call: Call) -> Response:
    """Prove that the sealed book of a checkpoint begins as that of an earlier one."""
    query = call.query
    found = services().proofs.consistency(call.actor.tenant_id, query.from_, query.to)
    return respond(200, ConsistencyAnswer, found)


def _note(text: str) -> Response:
    return Response(text, content_type="text/plain; charset=utf-8")
