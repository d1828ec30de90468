"""Our side of the column map: which columns a legacy table may fill, and what they may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from services.payment_states import COUNTERS

Kind = Literal[
    "id", "user_id", "email", "password", "text", "word", "currency", "minor", "moment", "flag",
    "metadata",
]  # fmt: skip
PAYMENT_STATUSES = (
    "created", "authorized", "partially_captured", "captured", "voided", "expired", "cancelled",
    "failed", "partially_refunded", "refunded", "disputed", "partially_charged_back",
    "charged_back",
)  # fmt: skip
PRINTABLE_ASCII = r"[!-~]([ -~]{0,98}[!-~])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class OurColumn:
    """A column of ours. `words`: all it may hold; `pattern`: what a text must match as a whole.

    `is_required`: a map names it. `default`: what a row has that a map leaves out.
    `expression`: where it is, if our table `o` has no column of its name; `u` is its user.
    """

    name: str
    kind: Kind
    is_required: bool = False
    is_nullable: bool = True
    words: tuple[str, ...] = ()
    length_min: int = 0
    length_max: int = 500
    pattern: str | None = None
    default: str | int | None = None
    expression: str = ""

    @property
    def sql(self) -> str:
        """Return its value in our table, called `o`."""
        return self.expression or f"o.{self.name}"


def _needed(name: str, kind: Kind, **more: str) -> OurColumn:
    return OurColumn(name=name, kind=kind, is_required=True, is_nullable=False, **more)  # type: ignore[arg-type]


def _words(name: str, words: tuple[str, ...], default: str) -> OurColumn:
    return OurColumn(name=name, kind="word", words=words, is_nullable=False, default=default)


# Their order is that of the canonical row (V1): a new one comes last.
_USERS = (
    _needed("id", "id"),
    # Only an erased user may be without.
    OurColumn(name="email", kind="email", is_required=True),
    OurColumn(name="legacy_password_hash", kind="password"),
    _words("status", ("active", "disabled", "deleted"), "active"),
    OurColumn(name="display_name", kind="text", length_min=1, length_max=200),
    _words("role", ("user", "operator"), "user"),
    OurColumn(
        name="email_verified",
        kind="flag",
        is_nullable=False,
        expression="(o.email_verified_at IS NOT NULL)",
    ),
    OurColumn(name="email_verified_at", kind="moment"),
    OurColumn(name="created_at", kind="moment", is_nullable=False),
    OurColumn(name="updated_at", kind="moment", is_nullable=False),
)
_PAYMENTS = (
    _needed("id", "id"),
    # Compared by the user's legacy id: that is what the other side holds.
    _needed(
        "user_id",
        "user_id",
        expression="u.legacy_id",
    ),
    OurColumn(name="reference", kind="text", length_max=100, pattern=PRINTABLE_ASCII),
    _needed("amount_minor", "minor"),
    _needed("currency", "currency"),
    _words("capture_method", ("manual", "manual_multiple", "automatic"), "manual"),
    OurColumn(
        name="gateway",
        kind="text",
        is_nullable=False,
        length_min=1,
        length_max=100,
        default="legacy",
    ),
    OurColumn(name="gateway_reference", kind="text"),
    OurColumn(name="description", kind="text"),
    OurColumn(name="metadata", kind="metadata"),
    OurColumn(
        name="status", kind="word", words=PAYMENT_STATUSES, is_required=True, is_nullable=False
    ),
    OurColumn(name="end_reason", kind="word", words=("cancelled", "failed", "expired", "voided")),
    OurColumn(name="failure_code", kind="text"),
    OurColumn(name="failure_message", kind="text"),
    OurColumn(name="capture_before", kind="moment"),
    *(OurColumn(name=name, kind="minor", is_nullable=False, default=0) for name in COUNTERS),
    _needed("created_at", "moment"),
    OurColumn(name="updated_at", kind="moment", is_nullable=False),
)

DOMAINS: dict[str, dict[str, OurColumn]] = {
    "users": {column.name: column for column in _USERS},
    "payments": {column.name: column for column in _PAYMENTS},
}

# Which transforms of a map's line may fill a column of which kind.
TRANSFORMS: dict[str, tuple[Kind, ...]] = {
    "text": ("email", "text", "word", "currency"),
    "int": ("text",),
    "bool": ("flag",),
    "uuid": ("id",),
    "uuid8": ("id",),
    "user_id": ("user_id",),
    "timestamp": ("moment",),
    "minor": ("minor",),
    "decimal": ("minor",),
    "map": ("word", "currency"),
    "password": ("password",),
    "metadata": ("metadata",),
    "const": ("text", "word", "currency", "flag"),
}
assert {kind for kinds in TRANSFORMS.values() for kind in kinds} == set(get_args(Kind))  # noqa: S101 - the two tables fit.
