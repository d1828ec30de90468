"""A book as NDJSON or CSV, in one snapshot, in the same memory however large it is (LX1, LX2)."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from errors import ExportBusy, NotSealed
from repos import ledger_exports
from services.csv_records import cell, recorder
from services.ledger import utc_text
from services.payment_exports import STALLED_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from persistence.db import Conn, Database
    from repos.ledger_exports import EndRow

WHAT = ("transactions", "entries", "accounts", "balances")
FORMATS = ("ndjson", "csv")
LEAF = (
    "id", "kind", "status", "reason", "reference", "hold_id", "reverses", "final", "forced",
    "posted_at", "effective_at", "expires_at", "released", "actor",
)  # fmt: skip
LEG = ("leg", "debit", "credit", "currency", "amount_minor")
COLUMNS = {
    "transactions": (*LEAF, *LEG, "metadata"),
    "entries": (
        "account", "currency", "stripe", "version", "posted_at", "effective_at", "tx_id", "leg",
        "side", "posted_minor", "pending_minor", "balance_after_minor",
    ),
    "accounts": (
        "code", "currency", "name", "normal_side", "status", "floor_minor", "ceiling_minor",
        "stripes", "owner_user_id", "metadata", "version",
    ),
    "balances": ("code", "currency", "posted_minor", "version"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAsk:
    """What of a book, and how. Without `posted_lt` it ends at the watermark."""

    what: str = "transactions"
    format: str = "ndjson"
    posted_gte: datetime | None = None
    posted_lt: datetime | None = None


@dataclass(frozen=True, slots=True)
class LedgerExport:
    """The lines of an export. To be closed, read to the end or not."""

    lines: Iterator[bytes]
    held: ExitStack

    def close(self) -> None:
        """Give the connection up; twice does no harm."""
        self.held.close()


class LedgerExports:
    """Begins exports."""

    def __init__(self, db: Database, fetch_rows: int, concurrency: int = 1) -> None:
        """`fetch_rows`: so many come in one round trip. `concurrency`: so many run at once."""
        self._db = db
        self._fetch_rows = fetch_rows
        self._places = BoundedSemaphore(concurrency)

    def begin(self, tenant_id: str, ask: ExportAsk, *, is_patient: bool = False) -> LedgerExport:
        """Return the lines. Raises NotSealed: nothing is final yet, and no end was given; and
        ExportBusy: each holds a connection and a snapshot for as long as its reader likes.

        The first is read now: what fails then can still be answered as any other failure.
        `is_patient`: a reader may take any time, as a command does.
        """
        if not self._places.acquire(blocking=False):
            raise ExportBusy("Others are being written: wait until one has ended.")
        with ExitStack() as stack:
            stack.callback(self._places.release)
            conn = stack.enter_context(self._db.snapshot(0 if is_patient else STALLED_MS))
            end = ledger_exports.get_end(conn, tenant_id=tenant_id)
            if end is None and ask.posted_lt is None:
                raise NotSealed("Nothing is final yet: wait a moment, or give posted_lt.")
            rows = self._rows(conn, tenant_id, ask, end)
            first = list(islice(rows, 1))
            rows = chain(first, rows)
            lines = _csv(rows, ask.what) if ask.format == "csv" else _ndjson(rows, end)
            return LedgerExport(lines, stack.pop_all())

    def _rows(
        self, conn: Conn, tenant_id: str, ask: ExportAsk, end: EndRow | None
    ) -> Iterator[str]:
        until = utc_text(ask.posted_lt) if ask.posted_lt else end.until if end else ""
        since = utc_text(ask.posted_gte) if ask.posted_gte else "-infinity"
        if ask.what == "accounts":
            return ledger_exports.list_accounts(conn, self._fetch_rows, tenant_id=tenant_id)
        if ask.what == "balances":
            return ledger_exports.list_balances(
                conn, self._fetch_rows, tenant_id=tenant_id, posted_lt=until
            )
        read = (
            ledger_exports.list_entries
            if ask.what == "entries"
            else ledger_exports.list_transactions
        )
        return read(conn, self._fetch_rows, tenant_id=tenant_id, posted_gte=since, posted_lt=until)


def _ndjson(rows: Iterable[str], end: EndRow | None) -> Iterator[bytes]:
    """Yield the rows, and a last line without which the file is cut off."""
    hashed, count = sha256(), 0
    for row in rows:
        line = row.encode() + b"\n"
        hashed.update(line)
        count += 1
        yield line
    last = {
        "end": True,
        "count": count,
        "sha256": hashed.hexdigest(),
        "sealed_through": end and end.sealed_through,
        "checkpoint": end and end.note,
    }
    yield json.dumps(last).encode() + b"\n"


def _csv(rows: Iterable[str], what: str) -> Iterator[bytes]:
    """Yield a header and records; of a transaction one for each leg, or one without a leg."""
    record = recorder()
    columns = COLUMNS[what]
    yield record(columns)
    for row in rows:
        document = json.loads(row)
        for each in _legs(document) if what == "transactions" else [document]:
            yield record([cell(each.get(name)) for name in columns])


def _legs(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    leaf = document["leaf"]
    for number, leg in enumerate(leaf["legs"] or [()], 1):
        names = dict(zip(LEG, (number, *leg), strict=True)) if leg else {}
        yield {**leaf, **names, "metadata": document["metadata"]}
