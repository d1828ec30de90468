"""Every blueprint of the service, on one screen."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from blueprints import (
    admin,
    api_keys,
    auth,
    currencies,
    disputes,
    docs,
    events,
    holds,
    idempotency_keys,
    ledger,
    ledger_accounts,
    ledger_exports,
    ledger_imports,
    ledger_proofs,
    ledger_reports,
    ops,
    payment_exports,
    payments,
    posting_batches,
    postings,
    refunds,
    webhooks,
    wellknown,
)

if TYPE_CHECKING:
    from flask import Flask

ALL = (
    auth.routes,
    payments.routes,
    payment_exports.routes,
    events.routes,
    refunds.routes,
    disputes.routes,
    webhooks.routes,
    idempotency_keys.routes,
    currencies.routes,
    ledger.routes,
    api_keys.routes,
    admin.routes,
    ledger_accounts.routes,
    ledger_exports.routes,
    ledger_imports.routes,
    ledger_proofs.routes,
    ledger_reports.routes,
    postings.routes,
    posting_batches.routes,
    holds.routes,
    docs.routes,
    ops.routes,
    wellknown.routes,
)


def register_all(app: Flask) -> None:
    """Register every blueprint. A route without a policy stops the boot (AI7, A5)."""
    for routes in ALL:
        app.register_blueprint(routes)
    for rule in app.url_map.iter_rules():
        if not hasattr(app.view_functions[rule.endpoint], "operation"):
            raise RuntimeError(f"Bug: {rule.rule} has no policy: declare an operation")
    # Nobody has looked at a route that came later: there is none.
    app.view_functions = MappingProxyType(app.view_functions)  # type: ignore[assignment]
