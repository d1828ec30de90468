"""Query of the ledger's export (ledger page, section 11)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from blueprints.fields import Maybe, Model, Timestamp


class LedgerExportQuery(Model):
    """What of the book, and how."""

    what: Annotated[
        Literal["transactions", "entries", "accounts", "balances"],
        Field(description="Transactions carry the leaf that is hashed into the sealed book."),
    ] = "transactions"
    format: Literal["ndjson", "csv"] = "ndjson"
    posted_gte: Maybe[Timestamp] = None
    posted_lt: Annotated[
        Maybe[Timestamp], Field(description="Left out: where the book is final.")
    ] = None
