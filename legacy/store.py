"""What a legacy store can do for the move, and what it says when it cannot (D43).

An adapter speaks for one table of one domain: users or payments. It takes and gives rows in our
terms; what they are called over there is the column map's business (legacy/columns.py). Versions
order everything, clocks nothing (D1): a row that was never written by us has version 1.
`legacy/contract.py` tests an adapter, also one of yours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

# Our column names to str, int, bool, aware datetime in UTC, dict (metadata) or None. With them
# stand `legacy_id`, the id over there as text, and in payments `user_legacy_id`.
Row = dict[str, Any]
Domain = Literal["users", "payments"]


@dataclass(frozen=True, slots=True)
class StoreRow:
    """A row of the store; `op_id`: our write that made this version, None: somebody else's.

    `deleted`: a tombstone; its `row` holds `legacy_id` and nothing else.
    """

    id: str
    version: int
    row: Row
    op_id: str | None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can; a gate asks for it by name.

    `same_transaction`: it lives in our database. `versions`: the legacy program's own writes raise
    them too. `fence`: it can refuse the legacy program. `ids`: it hands out ids in advance.
    """

    writes: bool
    same_transaction: bool = False
    capture: Literal["trigger", "poll"] | None = None
    versions: bool = False
    fence: bool = False
    ids: bool = False
    supports_argon2: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Level 0 of a comparison. `by`: (status, currency) to (rows, sum of amount_minor).

    Users have the currency "" and the sum 0; what cannot be read is "?", and its amount 0.
    """

    rows: int
    by: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    version_max: int = 0


@dataclass(frozen=True, slots=True)
class Captured:
    """One entry of the capture queue: a key that the legacy program has written."""

    batch_id: int
    legacy_id: str


# --- What goes wrong ----------------------------------------------------------------------------


class LegacyError(Exception):
    """What an adapter raises; its text holds no values of rows, and no secrets."""


class LegacyUnavailable(LegacyError):
    """The store did not answer in time, or not at all; the outcome of a write is unknown."""

    retryable = True


class Unsupported(LegacyError):
    """The store has no such capability: a caller asks `capabilities` first."""


class VersionStale(LegacyError):
    """The row is not at the version that was expected; `found` None: it is not there."""

    def __init__(self, found: StoreRow | None) -> None:
        self.found = found
        super().__init__("not there" if found is None else f"at version {found.version}")


class Duplicate(LegacyError):
    """Another row has this value; `field` is our name of the column, or "id"."""

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(f"another row has this {field}")


class TooLate(LegacyError):
    """`not_after` had passed by the store's own clock; nothing was written (D12)."""


class RowRejected(LegacyError):
    """A row breaks our rules: its legacy id, the first fault's code, and all columns at fault."""

    def __init__(self, legacy_id: str, code: str, columns: tuple[str, ...]) -> None:
        self.id = legacy_id
        self.code = code
        self.columns = columns
        super().__init__(f"{code}: {', '.join(columns)}")


class RowsRejected(RowRejected):
    """Of several rows some break our rules: all of these, and the good ones by their id.

    As a RowRejected it is the first of them, for callers who go on one by one (D29).
    """

    def __init__(self, rejected: Sequence[RowRejected], rows: dict[str, StoreRow]) -> None:
        first = rejected[0]
        super().__init__(first.id, first.code, first.columns)
        self.rejected = tuple(rejected)
        self.rows = rows


# --- The protocol -------------------------------------------------------------------------------


class LegacyStore(Protocol):
    """One table of a legacy store. Threads share it; every call may raise LegacyUnavailable.

    Ids are text, ordered as the store orders them: `after` is the last id of the page before.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def ping(self) -> None:
        """Ask for nothing; raise LegacyUnavailable, or LegacyError if table or columns lack."""

    def get_many(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """Return the rows that are there, tombstones too; raises RowsRejected."""

    def find(self, field: str, value: Any) -> StoreRow | None:
        """Return the row whose column of ours has the value; e-mail however it is spelt."""

    def page(self, filters: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
        """List by id, without tombstones. Filters: user_legacy_id, status, created_gte, created_lt.

        Raises RowsRejected, and ValueError for any other filter (D14).
        """

    def scan_ids(self, after: str | None, limit: int) -> list[str]:
        """Return the next ids: those of rows, not of tombstones."""

    def create(self, row: Row, op_id: str, not_after: datetime) -> StoreRow:
        """Insert `row`, which has its `legacy_id`, as version 1; with the same `op_id`: once.

        Raises Duplicate, TooLate, RowRejected (the store's own rules).
        """

    def replace(self, row: Row, expected_version: int, op_id: str, not_after: datetime) -> StoreRow:
        """Write the whole row as the next version; with the same `op_id`: once.

        Raises VersionStale, Duplicate, TooLate, RowRejected.
        """

    def follow(self, row: StoreRow) -> bool:
        """Take over a row or tombstone of the truth; False: it had that version or a newer (D23).

        Raises Duplicate, RowRejected.
        """

    def count(self) -> Totals:
        """Return what a comparison of level 0 compares."""

    def digest(self, prefix: bytes) -> dict[int, tuple[int, int]]:
        """Return by the byte after `prefix` of sha256(key): rows, and the sum of hashes (V1, V2).

        Only of keys whose hash begins with `prefix`; empty buckets are left out.
        """

    def deep_digest(self, buckets: Collection[int]) -> dict[int, tuple[int, int]]:
        """Return by the first two bytes, as a number, the same of keys whose first is wanted."""

    def hashes(self, prefix: bytes) -> dict[str, bytes]:
        """Return the row hash of every id whose hash begins with `prefix`."""

    def hashes_in(self, pairs: Collection[int]) -> list[tuple[str, bytes]]:
        """Return id and row hash where the first two bytes, as a number, are wanted.

        An id that is there twice is listed twice.
        """

    def tail(self, limit: int) -> list[Captured]:
        """Return what the legacy program wrote; the same again until `ack`. Raises Unsupported."""

    def ack(self, batch: Sequence[Captured]) -> None:
        """Forget exactly these entries: their marks are committed (D30)."""

    def allocate_ids(self, n: int) -> list[str]:
        """Take ids that nobody else will get (D26). Raises Unsupported."""

    def fence(self) -> None:
        """Refuse every writer but us from now on; those under way have ended (D31)."""

    def unfence(self) -> None:
        """Let the legacy program write again; nothing happens if it could."""

    def close(self) -> None:
        """Give back connections; a later use opens its own."""
