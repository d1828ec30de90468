"""Accounts of the ledger over HTTP: open, read, list, change (ledger page, section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from blueprints.bodies.ledger_accounts import (
    AccountAnswer,
    AccountBody,
    AccountList,
    AccountPatchBody,
    AccountQuery,
    AccountsQuery,
)
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope
from errors import (
    AccountCodeInvalid,
    AccountCodeReserved,
    AccountExists,
    AccountNotEmpty,
    CurrencyAmbiguous,
    CurrencyUnsupported,
    CursorInvalid,
    LimitBelowBalance,
    NotFound,
    UserNotFound,
    VersionMismatch,
)
from services.ledger_accounts import AccountFilters, Opening

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("ledger_accounts", __name__)

LEDGER = "feature_ledger_enabled"


@routes.post("/v1/ledger/accounts")
@operation(
    policy=scope("ledger:admin"),
    switch=LEDGER,
    body=AccountBody,
    answers={200: AccountAnswer, 201: AccountAnswer},
    errors=(
        AccountExists,
        LimitBelowBalance,
        AccountCodeInvalid,
        AccountCodeReserved,
        CurrencyUnsupported,
        UserNotFound,
    ),
)
def create(call: Call) -> Response:
    """Open an account; the same again is answered with 200."""
    given = {name: getattr(call.body, name) for name in call.body.model_fields_set}
    account, is_new = services().ledger_accounts.create(call.actor.tenant_id, Opening(**given))
    return _answered(201 if is_new else 200, account)


@routes.get("/v1/ledger/accounts")
@operation(
    policy=scope("ledger:read"),
    query=AccountsQuery,
    answers={200: AccountList},
    errors=(CursorInvalid,),
)
def page(call: Call) -> Response:
    """List accounts by code and currency, page by page, with their balances."""
    query = call.query
    filters = AccountFilters(
        prefix=query.prefix or "",
        currency=query.currency,
        status=query.status,
        owner_user_id=query.owner_user_id,
        metadata=query.metadata,
    )
    rows, cursor = services().ledger_accounts.page(call.actor, filters, query.limit, query.cursor)
    return respond(200, AccountList, {"data": rows, "next_cursor": cursor})


@routes.get("/v1/ledger/accounts/<code>")
@operation(
    policy=scope("ledger:read"),
    query=AccountQuery,
    answers={200: AccountAnswer},
    errors=(NotFound, CurrencyAmbiguous),
)
def get(call: Call, code: str) -> Response:
    """Read an account with its balance as it is now."""
    return _answered(200, services().ledger_accounts.get(call.actor, code, call.query.currency))


@routes.patch("/v1/ledger/accounts/<code>")
@operation(
    policy=scope("ledger:admin"),
    switch=LEDGER,
    query=AccountQuery,
    body=AccountPatchBody,
    answers={200: AccountAnswer},
    errors=(
        NotFound,
        CurrencyAmbiguous,
        VersionMismatch,
        AccountNotEmpty,
        LimitBelowBalance,
        UserNotFound,
    ),
)
def change(call: Call, code: str) -> Response:
    """Change an account: its name, status, limits, stripes, owner or metadata."""
    changes = {name: getattr(call.body, name) for name in call.body.model_fields_set}
    account = services().ledger_accounts.change(
        call.actor.tenant_id,
        code,
        call.query.currency,
        changes,
        call.actor.subject,
        call.if_match or 0,
    )
    return _answered(200, account)


def _answered(status: int, account: dict[str, Any]) -> Response:
    headers = {"ETag": f'"{account["version"]}"'}
    if status == 201:  # noqa: PLR2004
        place = f"/v1/ledger/accounts/{account['code']}?currency={account['currency']}"
        headers["Location"] = place
    return respond(status, AccountAnswer, account, headers)
