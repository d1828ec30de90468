"""Bodies, queries and answers of the ledger's accounts (ledger page, sections 2 and 9)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from blueprints.bodies.ledger import Decimal, Minor, OnlyCurrency, Side
from blueprints.fields import (
    MOST_AMOUNT_MINOR,
    Answer,
    Currency,
    Cursor,
    Id,
    Limit,
    Maybe,
    Metadata,
    MetadataPatch,
    Model,
    Text,
)

AccountStatus = Literal["open", "frozen", "closed"]
LimitMinor = Annotated[int, Field(ge=-MOST_AMOUNT_MINOR, le=MOST_AMOUNT_MINOR)]
FloorMinor = Annotated[
    LimitMinor | None,
    Field(description="What `available` never falls below: -5000 is an overdraft; null: none."),
]
CeilingMinor = Annotated[
    LimitMinor | None, Field(description="What `reachable` never rises above; null: none.")
]
Stripes = Annotated[
    int,
    Field(ge=1, le=64, description="Balance rows that writers spread over; may grow, not shrink."),
]
AccountName = Annotated[Text | None, Field(description="For people.")]
NormalSide = Annotated[
    Side, Field(description="credit: what we owe or earn; debit: what we own or spend.")
]
Owner = Annotated[Id | None, Field(description="May read it; null: an account of the house.")]


class AccountBody(Model):
    """An account to be opened."""

    code: Annotated[
        Text,
        Field(
            description="1 to 10 segments of `a-z 0-9 . _ -` with `:` between, 255 bytes at most.",
            examples=["shops:42:cash"],
        ),
    ]
    currency: Currency
    normal_side: NormalSide
    name: AccountName = None
    floor_minor: FloorMinor = 0
    ceiling_minor: CeilingMinor = None
    stripes: Stripes = 1
    owner_user_id: Owner = None
    metadata: Maybe[Metadata] = None


class AccountPatchBody(Model):
    """What is to be changed; what is left out stays."""

    name: AccountName = None
    status: Maybe[AccountStatus] = None
    floor_minor: FloorMinor = None
    ceiling_minor: CeilingMinor = None
    stripes: Maybe[Stripes] = None
    owner_user_id: Owner = None
    metadata: Annotated[
        Maybe[MetadataPatch], Field(description="Merged by name; null removes a name (RFC 7396).")
    ] = None


class AccountQuery(Model):
    """Which account of a code."""

    currency: OnlyCurrency = None


class AccountsQuery(Model):
    """Filters of a list, joined by AND."""

    prefix: Annotated[
        Maybe[Text], Field(description="How codes begin: `shops:42:` is all below shops:42.")
    ] = None
    currency: Maybe[Currency] = None
    status: Maybe[AccountStatus] = None
    owner_user_id: Maybe[Id] = None
    metadata: Annotated[Maybe[Metadata], Field(description="`metadata.<name>=<value>`.")] = None
    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class AccountBalance(Answer):
    """An account's balance as it is now, over all its stripes."""

    posted_minor: Minor
    posted_decimal: Decimal
    available_minor: Minor
    available_decimal: Decimal
    reachable_minor: Minor
    reachable_decimal: Decimal
    version: Annotated[int, Field(description="How many entries it has: `expect` names it.")]


class AccountAnswer(Answer):
    """An account, with its balance."""

    code: Annotated[str, Field(examples=["shops:42:cash"])]
    currency: Currency
    name: str | None
    normal_side: NormalSide
    status: AccountStatus
    floor_minor: Minor | None
    floor_decimal: Decimal
    ceiling_minor: Minor | None
    ceiling_decimal: Decimal
    stripes: int
    owner_user_id: UUID | None
    metadata: dict[str, str]
    version: Annotated[int, Field(description="Of the account, for If-Match: not of its balance.")]
    created_at: datetime
    updated_at: datetime
    balance: AccountBalance


class AccountList(Answer):
    """A page of accounts by code and currency."""

    data: list[AccountAnswer]
    next_cursor: Annotated[
        str | None, Field(description="Null is the end; a page may be short before it.")
    ]
