"""What commands on payments share over HTTP: the call as a command, and its answer (K6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprints.edge import respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from errors import (
    AccountClosed,
    AccountFrozen,
    AmountOverflow,
    CeilingExceeded,
    InvalidState,
    LedgerBehind,
    NotFound,
    VersionMismatch,
)
from services.payment_commands import Command

if TYPE_CHECKING:
    from flask import Response

    from blueprints.edge import Call
    from blueprints.fields import Answer as Model
    from services.idempotency import Answer

# What every command can be refused with, and what the ledger refuses to those that post.
COMMAND = (NotFound, VersionMismatch, InvalidState)
LEDGER = (LedgerBehind, AccountFrozen, AccountClosed, AmountOverflow, CeilingExceeded)


def command_of(call: Call) -> Command:
    """Return who asks, under which key, and for which version."""
    return Command(
        actor=call.actor, claim=call.claim, if_match=call.if_match or 0, fault=call.fault
    )


def given(call: Call) -> dict[str, Any]:
    """Return what the body has set; a fault of the body is for the service to raise."""
    if call.body is None:
        return {}
    return {name: getattr(call.body, name) for name in call.body.model_fields_set}


def shown(data: dict[str, Any]) -> dict[str, Any]:
    """Add the amount as people write it, to a payment in it too."""
    amount = services().currencies.decimal(data["amount_minor"], data["currency"])
    within = {"payment": shown(data["payment"])} if "payment" in data else {}
    return {**data, **within, "amount_decimal": amount}


def columns(row: Any) -> dict[str, Any]:
    """Return a row as data, with its amount as people write it."""
    return shown({name: getattr(row, name) for name in row.__slots__})


def answered(answer: Answer, model: type[Model], headers: dict[str, str]) -> Response:
    """Render a command's answer, first or repeated, by the same code."""
    now = exchange()
    now.after.append(answer.settle)
    if now.idempotency is None:
        now.idempotency = "replayed" if answer.replayed else "stored"
        now.answer_headers["Idempotency-Status"] = now.idempotency
    if answer.replayed:
        now.answer_headers["Idempotent-Replayed"] = "true"
    return respond(answer.status, model, shown(answer.data), headers)
