"""Bodies, queries and answers of postings (ledger page, sections 4 and 9)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter
from pydantic_core import PydanticKnownError, core_schema

from blueprints.bodies.ledger import Decimal, Minor
from blueprints.fields import (
    MOST_INTEGER,
    AmountMinor,
    Answer,
    Currency,
    Cursor,
    Id,
    Limit,
    Maybe,
    Metadata,
    Model,
    Text,
    Timestamp,
)

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

AccountCode = Annotated[
    str,
    Field(
        min_length=1, max_length=255, description="An account's code.", examples=["platform:fees"]
    ),
]
TransactionReference = Annotated[
    str,
    Field(
        pattern="^[!-~]([ -~]{0,253}[!-~])?$",
        description="Your own name for it: 1 to 255 printable ASCII characters, unique for ever.",
        examples=["invoice-4711"],
    ),
]
TransactionId = Annotated[
    Maybe[Id],
    Field(
        description="Yours, best a UUID of version 7: what becomes of it is kept under it. Without"
        " one an Idempotency-Key is needed."
    ),
]
DryRun = Annotated[bool, Field(description="Only answer what would happen.")]
Kind = Literal["post", "hold", "capture", "void", "expire", "reverse", "adjust", "change"]
PostKind = Annotated[
    Literal["post", "adjust"],
    Field(description="adjust: an operator's correction; needs ledger:admin and metadata.reason."),
]
EffectiveAt = Annotated[
    Maybe[Timestamp], Field(description="When it counts; left out: when it is posted.")
]


class LegBody(Model):
    """One movement of money: both accounts differ and have this currency."""

    debit: AccountCode
    credit: AccountCode
    amount_minor: AmountMinor
    currency: Currency


class ExpectBody(Model):
    """Which version an account's balance has, else nothing is posted."""

    account: AccountCode
    currency: Currency
    version: Annotated[int, Field(ge=0, le=MOST_INTEGER)]


Expect = Annotated[list[ExpectBody], Field(max_length=100)]


class PostingBody(Model):
    """What every posting may have."""

    metadata: Maybe[Metadata] = None


class TransactionBody(PostingBody):
    """A transaction to be posted: all its legs, or nothing."""

    id: TransactionId = None
    kind: PostKind = "post"
    legs: Annotated[list[LegBody], Field(min_length=1)]
    reference: Maybe[TransactionReference] = None
    effective_at: EffectiveAt = None
    expect: Maybe[Expect] = None
    receipt: Annotated[bool, Field(description="Answer with a signed receipt.")] = False
    dry_run: DryRun = False


class ReverseBody(PostingBody):
    """How a transaction is taken back: by its mirror."""

    id: TransactionId = None
    reference: Maybe[TransactionReference] = None
    effective_at: EffectiveAt = None
    dry_run: DryRun = False


class BatchItem(PostingBody):
    """A transaction of a batch."""

    id: Annotated[Id, Field(description="Yours: what becomes of it is kept under it.")]
    kind: PostKind = "post"
    legs: Annotated[list[LegBody], Field(min_length=1)]
    reference: Maybe[TransactionReference] = None
    effective_at: EffectiveAt = None
    expect: Maybe[Expect] = None
    group: Annotated[
        Maybe[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(description="Neighbours of one group are posted together or not at all."),
    ] = None


ITEMS = TypeAdapter(list[BatchItem])


class OneByOne:
    """Marks a list whose items are read at once or, if one of them is wrong, each for itself.

    Then the list is what the client has sent: so a bad item fails no other.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Try the items; take any list that is not empty."""
        either: list[Any] = [handler(source), core_schema.any_schema()]
        union = core_schema.union_schema(either, mode="left_to_right")
        return core_schema.no_info_after_validator_function(_some, union)

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe what the list should be."""
        return {**handler(schema["schema"]["choices"][0]), "minItems": 1}


def _some(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise PydanticKnownError("list_type")
    if not found:
        limits = {"field_type": "List", "min_length": 1, "actual_length": 0}
        raise PydanticKnownError("too_short", limits)
    return found


class BatchBody(Model):
    """Transactions to be posted in one go; as NDJSON: one a line, with mode in the query."""

    mode: Annotated[
        Maybe[Literal["each", "all"]],
        Field(description="each (default): as if sent one after another. all: all or none."),
    ] = None
    transactions: Annotated[list[BatchItem], OneByOne()]
    dry_run: Maybe[DryRun] = None


class BatchQuery(Model):
    """For NDJSON, whose lines have no place for it."""

    mode: Maybe[Literal["each", "all"]] = None
    dry_run: Maybe[Literal["true", "false"]] = None


class LegAnswer(Answer):
    """One movement of money."""

    debit: str
    credit: str
    amount_minor: Minor
    amount_decimal: Decimal
    currency: Currency


class TransactionAnswer(Answer):
    """A transaction as it stands in the book."""

    id: UUID
    kind: Kind
    status: Annotated[
        Literal["applied", "rejected"],
        Field(description="rejected: refused for good, it has moved nothing."),
    ]
    reason: Annotated[str | None, Field(description="Why it was refused: a code.")]
    reference: str | None
    hold_id: Annotated[UUID | None, Field(description="The hold it made or resolved.")]
    reverses: UUID | None
    final: Annotated[bool, Field(description="Of a capture: whether it released the rest.")]
    forced: Annotated[bool, Field(description="Whether it may have passed a floor.")]
    posted_at: Annotated[datetime, Field(description="When the book learnt it.")]
    effective_at: Annotated[datetime, Field(description="When it counts.")]
    legs: list[LegAnswer]
    released_minor: Annotated[
        Minor | None, Field(description="Of a capture: what it took off the hold.")
    ]
    released_decimal: Decimal
    metadata: dict[str, str]
    actor: str
    request_id: str


class BalanceAfter(Answer):
    """An account right after a transaction."""

    account: str
    currency: Currency
    posted_minor: Minor
    posted_decimal: Decimal
    version: Annotated[int, Field(description="For `expect`.")]


class PostingAnswer(TransactionAnswer):
    """A transaction that was posted, with the balances it left."""

    balances: Annotated[
        list[BalanceAfter],
        Field(description="Of the accounts it touched, but those that have several stripes."),
    ]
    dry_run: Annotated[bool, Field(description="True: nothing was posted.")] = False
    receipt: Annotated[
        str | None, Field(description="A signed note that binds us to it, if asked for.")
    ] = None


class BatchFault(Answer):
    """Why a transaction of a batch was refused."""

    pointer: Annotated[
        str, Field(description="JSON pointer.", examples=["/transactions/17/legs/0/amount_minor"])
    ]
    code: str
    detail: str


class BatchResult(Answer):
    """What became of one transaction of a batch."""

    index: Annotated[int, Field(description="Its place in the batch, from 0.")]
    id: UUID | None
    outcome: Annotated[
        Literal["created", "existing", "rejected", "conflict", "invalid"],
        Field(
            description="created; existing: it was there, `code` says if it was refused then;"
            " rejected: refused, for good under this id; conflict: the id is another request's;"
            " invalid: refused, and nothing was written."
        ),
    ]
    code: str | None
    posted_at: datetime | None
    errors: Annotated[list[BatchFault], Field(description="Why, with pointers into the batch.")]


class BatchAnswer(Answer):
    """What became of each transaction, in the order of the request."""

    results: list[BatchResult]


class Sealed(Answer):
    """Where a transaction stands in the tamper-evident log."""

    index: int


class TransactionDetail(TransactionAnswer):
    """A transaction, and what became of it."""

    reversed_by: UUID | None
    sealed: Annotated[Sealed | None, Field(description="Null: not yet.")]


class TransactionsQuery(Model):
    """Filters of the log, joined by AND."""

    reference: Annotated[
        Maybe[TransactionReference], Field(description="Of an applied transaction.")
    ] = None
    payment_id: Annotated[Maybe[Id], Field(description="All that a payment has posted.")] = None
    account: Annotated[
        Maybe[AccountCode], Field(description="Transactions that moved its money, or reserved it.")
    ] = None
    prefix: Annotated[
        Maybe[AccountCode], Field(description="Some account's code begins so: `shops:42:`.")
    ] = None
    currency: Maybe[Currency] = None
    kind: Maybe[Kind] = None
    status: Maybe[Literal["applied", "rejected"]] = None
    hold_id: Maybe[Id] = None
    reverses: Maybe[Id] = None
    actor: Maybe[Text] = None
    posted_gte: Maybe[Timestamp] = None
    posted_lt: Maybe[Timestamp] = None
    effective_gte: Maybe[Timestamp] = None
    effective_lt: Maybe[Timestamp] = None
    amount_gte: Annotated[Maybe[AmountMinor], Field(description="Of some leg.")] = None
    amount_lte: Maybe[AmountMinor] = None
    metadata: Annotated[Maybe[Metadata], Field(description="`metadata.<name>=<value>`.")] = None
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class TransactionList(Answer):
    """A page of the log, newest first."""

    data: list[TransactionDetail]
    next_cursor: Annotated[
        str | None, Field(description="Null is the end; a page may be short before it.")
    ]
