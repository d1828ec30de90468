"""Query and answer of the ledger's import (ledger page, section 11)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from blueprints.fields import Answer, Model
from services.ledger_imports import BATCH, BATCH_MAX


class LedgerImportQuery(Model):
    """How a file is posted."""

    mode: Annotated[
        Literal["each", "all"], Field(description="all: a batch with a refusal posts nothing.")
    ] = "each"
    batch: Annotated[
        int, Field(ge=1, le=BATCH_MAX, description="Most transactions of a commit.")
    ] = BATCH
    dry_run: Annotated[
        Literal["true", "false"], Field(description="Say what would happen, batch by batch.")
    ] = "false"


class ImportFault(Answer):
    """Why a transaction of a file was refused."""

    line: Annotated[int, Field(description="Where it begins, from 1.", examples=[17])]
    pointer: Annotated[
        str, Field(description="JSON pointer into it.", examples=["/legs/0/amount_minor"])
    ]
    code: str
    detail: str


class LedgerImportAnswer(Answer):
    """What became of a file: of each transaction that was read, one of three things."""

    read: Annotated[int, Field(description="Transactions that were read.")]
    created: Annotated[int, Field(description="Posted now.")]
    existing: Annotated[int, Field(description="Posted before under the same id.")]
    refused: int
    faults: Annotated[list[ImportFault], Field(description="The first hundred.")]
