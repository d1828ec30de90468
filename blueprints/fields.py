"""The base of all models, and the field types that bodies, query strings and answers share.

Bodies and queries are strict (AE4); answers take what the database gave and drop the rest (AE8).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError, core_schema

from services.payment_states import METADATA_MAX_BYTES, metadata_bytes

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

MOST_AMOUNT_MINOR = 999_999_999_999_999  # Exact in every JSON client: below 2^53 (P1).
MOST_INTEGER = 2**53 - 1
EXAMPLE_ID = "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e"
ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


class Model(BaseModel):
    """A body or a query string: strict, frozen, no unknown name."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        regex_engine="rust-regex",
    )


class Answer(BaseModel):
    """An answer, filled from a row or from stored data; what it does not name stays inside."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class Empty(Model):
    """No member at all: what a command takes that has nothing to say."""


class NotNull:
    """Marks a member that may be left out, and that may not be null."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Take the null out of `T | None`: the None of Python then only means "left out"."""
        schema = handler(source)
        if schema["type"] != "nullable":
            raise TypeError(f"Bug: Maybe[...] of {source}")
        inner: core_schema.CoreSchema = schema["schema"]
        return inner


class LowerCaseId:
    """A UUID in its 36 lower-case characters: pydantic alone takes `urn:` and braces too (AE6)."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Check the text first, then make the UUID."""
        text = core_schema.str_schema(pattern=ID_PATTERN, strict=True)
        return core_schema.chain_schema([text, core_schema.uuid_schema(strict=False)])

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe it as what a client sends."""
        return {"type": "string", "format": "uuid", "pattern": ID_PATTERN, "examples": [EXAMPLE_ID]}


def _small_enough(metadata: dict[str, str]) -> dict[str, str]:
    if metadata_bytes(metadata) > METADATA_MAX_BYTES:
        raise PydanticCustomError("too_large", "At most 8192 bytes of names and values.")
    return metadata


def _in_utc(moment: datetime) -> datetime:
    """PostgreSQL knows no offset of 16 hours or more, and Python no year 0."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("out_of_range", "Year 1 to 9999, in UTC.") from None


T = TypeVar("T")
Maybe = Annotated[T | None, NotNull()]

Id = Annotated[UUID, LowerCaseId()]
AmountMinor = Annotated[
    int,
    Field(
        ge=1, le=MOST_AMOUNT_MINOR, description="In minor units of the currency.", examples=[1099]
    ),
]
FeeMinor = Annotated[
    int,
    Field(ge=0, le=MOST_AMOUNT_MINOR, description="In minor units, part of the amount."),
]
Integer = Annotated[int, Field(ge=-MOST_INTEGER, le=MOST_INTEGER)]
Currency = Annotated[
    str, Field(pattern="^[A-Z]{3}$", description="ISO 4217 code.", examples=["EUR"])
]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Reference = Annotated[
    str,
    Field(
        pattern="^[!-~]([ -~]{0,98}[!-~])?$",
        description="Your own name for it: 1 to 100 printable ASCII characters, unique for ever.",
        examples=["order-4711"],
    ),
]
MetadataName = Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,40}$")]
MetadataValue = Annotated[str, Field(max_length=500)]
Metadata = Annotated[
    dict[MetadataName, MetadataValue],
    Field(
        max_length=50,
        description="Your own names and values, 8 KiB at most.",
        json_schema_extra={"additionalProperties": False},
    ),
    AfterValidator(_small_enough),
]
MetadataPatch = Annotated[
    dict[MetadataName, MetadataValue | None],
    Field(max_length=100, json_schema_extra={"additionalProperties": False}),
]
Timestamp = Annotated[
    AwareDatetime, AfterValidator(_in_utc), Field(examples=["2026-01-31T12:00:00Z"])
]
Cursor = Annotated[
    str,
    Field(min_length=1, max_length=1024, description="`next_cursor` of the page before."),
]
Limit = Annotated[int, Field(ge=1, le=200, description="Most things on a page.")]
Status = Literal["pass", "warn", "fail"]
