"""What adapters share: rows as a driver found them become rows of ours, and lists are filtered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legacy.store import RowRejected, RowsRejected, StoreRow, Unsupported
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from legacy.columns import ColumnMap, Raw
    from legacy.store import Row

FILTERS = {"user_legacy_id", "status", "created_gte", "created_lt"}
# A page is looked for in steps of so many rows, at least: filters may leave few of them.
STEP_ROWS = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A row as it is held over there, with its companion; `raw` None: a tombstone (D23)."""

    id: str
    raw: Raw | None
    version: int = 1
    op_id: str | None = None


def store_row(mapping: ColumnMap, held: Held) -> StoreRow:
    """Return a row of ours; RowRejected."""
    if held.raw is None:
        row: Row = {"legacy_id": held.id}
        return StoreRow(held.id, held.version, row, held.op_id, deleted=True)
    return StoreRow(held.id, held.version, mapping.read(held.raw), held.op_id)


def store_rows(mapping: ColumnMap, found: Iterable[Held]) -> dict[str, StoreRow]:
    """Return the rows by id; RowsRejected, when all of them have been looked at."""
    rows: dict[str, StoreRow] = {}
    rejected: list[RowRejected] = []
    for held in found:
        try:
            rows[held.id] = store_row(mapping, held)
        except RowRejected as exc:
            rejected.append(exc)
    if rejected:
        raise RowsRejected(rejected, rows)
    return rows


# --- Lists --------------------------------------------------------------------------------------


def page(
    mapping: ColumnMap,
    scan: Callable[[str | None, int], list[Held]],
    filters: Mapping[str, Any],
    after: str | None,
    limit: int,
) -> list[StoreRow]:
    """Return up to `limit` rows that fit, after an id; `scan` gives rows in order of their ids.

    RowsRejected if one among those looked at breaks our rules: its `rows` are the page without.
    """
    if unknown := filters.keys() - FILTERS:
        raise ValueError(f"no such filter: {', '.join(sorted(unknown))}")
    found: list[StoreRow] = []
    rejected: list[RowRejected] = []
    step = max(limit, STEP_ROWS)
    while len(found) < limit:
        held = scan(after, step)
        for each in held:
            try:
                row = store_row(mapping, each)
            except RowRejected as exc:
                rejected.append(exc)
            else:
                found += [row] if _fits(row.row, filters) else []
        if len(held) < step:
            break
        after = held[-1].id
    if rejected:
        raise RowsRejected(rejected, {row.id: row for row in found[:limit]})
    return found[:limit]


def _fits(row: Row, filters: Mapping[str, Any]) -> bool:
    equal = ("user_legacy_id", "status")
    return (
        all(row.get(name) == filters[name] for name in equal if name in filters)
        and ("created_gte" not in filters or row["created_at"] >= filters["created_gte"])
        and ("created_lt" not in filters or row["created_at"] < filters["created_lt"])
    )


def status_texts(mapping: ColumnMap, status: str) -> list[str] | None:
    """Return how the legacy column may spell a status; None: it says nothing of it."""
    mapped = mapping.by_name.get("status")
    if mapped is None or mapped.how == "const":
        return None
    if mapped.how != "map":
        return [status]
    texts = [text for text, ours in (mapped.words or {}).items() if ours == status]
    also = {"true": ["1", "t"], "false": ["0", "f"]}
    return [*texts, *(spelling for text in texts for spelling in also.get(text, []))]


# --- One row by a column ------------------------------------------------------------------------


def is_same(field: str, one: Any, other: Any) -> bool:
    """Tell whether two of our values are the same; of addresses the normalised ones are."""
    if field == "email" and one is not None:
        return normalise_email(one) == normalise_email(other)
    return bool(one == other)


def source_of(mapping: ColumnMap, field: str) -> str:
    """Return the legacy column of ours; Unsupported: the map has none."""
    mapped = mapping.by_name.get(field)
    if mapped is None or not mapped.source:
        raise Unsupported(f"{field} is not mapped")
    return mapped.source
