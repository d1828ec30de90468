"""What applying a row shares: where it goes, what may keep it out, and what of it is new (D23)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from services.payment_states import COUNTERS

if TYPE_CHECKING:
    from datetime import datetime

    from legacy.links import Link
    from legacy.store import StoreRow

ACTOR = "legacy"
AMOUNTS = (*COUNTERS, "end_reason")


class NotApplied(Exception):
    """A row that new cannot take: `code`, the columns at fault, and whether it only has to wait."""

    def __init__(self, code: str, *columns: str, waits: bool = False) -> None:
        self.code = code
        self.columns = columns
        self.waits = waits
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Into which tenant's rows, from which link, and whether the ledger is on.

    `is_exact`: rows are as we decided them, and not as a coarser store gives them back (V3).
    """

    tenant_id: str
    domain: str
    link: Link
    ledger: bool
    is_exact: bool = False


def merged(
    target: Target, legacy_id: str, given: dict[str, Any], had: dict[str, Any]
) -> dict[str, Any]:
    """Return the row to write, as JSON: given columns of the map over what new has."""
    keeps = {name for name in had if name not in target.link.columns and name not in AMOUNTS}
    row = {**given, **{name: had[name] for name in keeps if name in given}}
    return {**as_json(row), "legacy_id": legacy_id}


def version_of(target: Target, found: StoreRow | None, had: Any, row: dict[str, Any]) -> int | None:
    """Return the version to write; None: new has this row already.

    A program that does not raise versions is followed by what its rows say.
    """
    assert found is not None  # noqa: S101 - the caller has looked.
    if found.version > had.version:
        return found.version
    if had.legacy_id is None:  # The two were never brought together: no version tells them apart.
        return int(had.version) + 1
    same = all(row[name] == value for name, value in as_json(asdict(had)).items() if name in row)
    if target.link.follows_versions or same:
        return None
    return int(had.version) + 1


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as statements take it, without its version."""
    return {name: _text(value) for name, value in row.items() if name != "version"}


def _text(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return _moment(value) if hasattr(value, "isoformat") else value


def _moment(value: datetime) -> str:
    return value.isoformat()


def our_uuid(text: str) -> UUID:
    """Return the id of a row that came from here, or one that nobody has."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
