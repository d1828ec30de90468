"""Reading payments where legacy decides: its row, under what new knows and it cannot hold (2.1).

What is made of a payment, its events, captures, refunds, exists here only: it is read here, once
legacy has said that the payment is there. Lists come in the order of legacy's ids (D14).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from errors import NotFound
from legacy import names
from legacy.apply_payments import with_amounts
from legacy.merging import merged, version_of
from legacy.refusals import FilterUnavailable
from legacy.rows import mirrored_payments, mirrored_users
from legacy.store import RowsRejected, StoreRow
from legacy.truth import of_legacy, reached, user_key
from services.payment_exports import PaymentExport
from services.payment_queries import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from legacy.mirror import Scope
    from legacy.rows.mirrored_payments import CopyRow
    from legacy.shadow import Shadow
    from legacy.truth import Truth
    from services.actors import Actor
    from services.cursors import Cursors

LIST = "legacy_payments"
EXPORT_ROWS = 500
PASSING = ("statuses", "user_id", "created_gte", "created_lt")


class PaymentReads:
    """PaymentQueries, each by the path of the phase."""

    def __init__(self, inner: Any, truth: Truth, cursors: Cursors, shadow: Shadow) -> None:
        self._inner = inner
        self._truth = truth
        self._cursors = cursors
        self._shadow = shadow

    def __getattr__(self, name: str) -> Any:
        """Return what is not wrapped: single parts of payments, which exist here only."""
        return getattr(self._inner, name)

    def get(self, actor: Actor, payment_id: UUID) -> dict[str, Any]:
        """As PaymentQueries.get; LegacyDown."""
        state = self._truth.state(actor.tenant_id, "payments")
        scope = self._truth.scope(state)
        if scope is None:
            found: dict[str, Any] = self._inner.get(actor, payment_id)
        else:
            with reached():
                found = self._one(scope, payment_id)
            if actor.owner_id is not None and str(actor.owner_id) != found["user_id"]:
                raise NotFound
        self._shadow.offer(state, payment_id)
        return found

    def _one(self, scope: Scope, payment_id: UUID) -> dict[str, Any]:
        with self._truth.db.read() as conn:
            rows = mirrored_payments.read(
                conn, tenant_id=scope.state.tenant_id, legacy_ids=[], payment_ids=[payment_id]
            )
        return self._shown(scope, [of_legacy(scope, payment_id, rows)])[0]

    def events(self, actor: Actor, payment_id: UUID, after_seq: int, limit: int) -> list[Any]:
        """As PaymentQueries.events; of a payment that is not here yet: none."""
        if self._truth.legacy(actor.tenant_id, "payments") is None:
            return list(self._inner.events(actor, payment_id, after_seq, limit))
        self.get(actor, payment_id)
        try:
            return list(self._inner.events(actor, payment_id, after_seq, limit))
        except NotFound:
            return []

    def parts(
        self, actor: Actor, what: str, payment_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[Any], str | None]:
        """As PaymentQueries.parts; of a payment that is not here yet: none."""
        if self._truth.legacy(actor.tenant_id, "payments") is None:
            return _pair(self._inner.parts(actor, what, payment_id, limit, cursor))
        self.get(actor, payment_id)
        try:
            return _pair(self._inner.parts(actor, what, payment_id, limit, cursor))
        except NotFound:
            return [], None

    # --- Lists ----------------------------------------------------------------------------------

    def page(
        self, actor: Actor, filters: Filters, limit: int, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """As PaymentQueries.page, by legacy's ids; FilterUnavailable (D14)."""
        scope = self._truth.legacy(actor.tenant_id, "payments")
        if scope is None:
            return _pair(self._inner.page(actor, filters, limit, cursor))
        bound = {"tenant": actor.tenant_id, "owner": str(actor.owner_id), "filters": repr(filters)}
        after = self._cursors.read(LIST, cursor, bound)[0] if cursor else None
        rows, last = self._page(scope, actor, filters, after, limit)
        return rows, None if last is None else self._cursors.sign(LIST, [last], bound)

    def _page(
        self, scope: Scope, actor: Actor, filters: Filters, after: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page, and the id after which the next one begins; None: the end."""
        asked = self._asked(scope, actor, filters)
        if asked is None:
            return [], None
        with reached():
            found = _good(scope, asked, after, limit + 1)
        shown = self._shown(scope, found[:limit])
        if filters.statuses:  # Several, or one that legacy spells as it does others.
            shown = [each for each in shown if each["status"] in filters.statuses]
        return shown, found[limit - 1].id if len(found) > limit else None

    def _asked(self, scope: Scope, actor: Actor, filters: Filters) -> dict[str, Any] | None:
        """Return the store's filters; None: nothing passes. FilterUnavailable."""
        if replace(filters, **{name: getattr(Filters(), name) for name in PASSING}) != Filters():
            raise FilterUnavailable
        asked: dict[str, Any] = {}
        user_id = actor.owner_id or filters.user_id
        if filters.user_id not in {None, user_id}:
            return None
        if user_id is not None:
            asked["user_legacy_id"] = user_key(self._truth, scope, user_id)
        for name in ("created_gte", "created_lt"):
            if getattr(filters, name) is not None:
                asked[name] = getattr(filters, name)
        if len(filters.statuses) == 1:
            asked["status"] = filters.statuses[0]
        return None if asked.get("user_legacy_id", "") is None else asked

    def begin(self, actor: Actor, filters: Filters) -> PaymentExport | None:
        """Begin an export of legacy's payments; None: new decides. FilterUnavailable."""
        scope = self._truth.legacy(actor.tenant_id, "payments")
        if scope is None:
            return None
        rows = self._all(scope, actor, filters)
        first = list(islice(rows, 1))
        return PaymentExport(chain(first, rows), ExitStack())

    def _all(self, scope: Scope, actor: Actor, filters: Filters) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            rows, after = self._page(scope, actor, filters, after, EXPORT_ROWS)
            yield from rows
            if after is None:
                return

    # --- Rows -----------------------------------------------------------------------------------

    def _shown(self, scope: Scope, found: list[StoreRow]) -> list[dict[str, Any]]:
        """Return payments as PaymentQueries does, with the ids that new has given them."""
        ids = [row.id for row in found]
        payers = list({row.row["user_legacy_id"] for row in found})
        tenant_id = scope.state.tenant_id
        with self._truth.db.read() as conn:
            had = mirrored_payments.read(conn, tenant_id=tenant_id, legacy_ids=ids, payment_ids=[])
            people = mirrored_users.read(conn, tenant_id=tenant_id, legacy_ids=payers, user_ids=[])
        here = {row.legacy_id: row for row in had}
        user_ids = {row.legacy_id: str(row.id) for row in people}
        return [_payment(scope, row, here.get(row.id), user_ids) for row in found]


class ExportReads:
    """PaymentExports, by the path of the phase."""

    def __init__(self, inner: Any, reads: PaymentReads) -> None:
        self._inner = inner
        self._reads = reads

    def begin(self, actor: Actor, filters: Filters) -> PaymentExport:
        """As PaymentExports.begin; where legacy decides not as of one moment."""
        made = self._reads.begin(actor, filters)
        return made if made is not None else self._inner.begin(actor, filters)


def _payment(
    scope: Scope, found: StoreRow, had: CopyRow | None, user_ids: dict[str | None, str]
) -> dict[str, Any]:
    target = scope.target
    given = found.row if had is None else with_amounts(target, found.row, had)
    row = merged(target, found.id, given, asdict(had) if had else {})
    version = found.version
    if had is not None:
        version = version_of(target, found, had, row) or had.version
        row["id"] = str(had.id)
    payer = row["user_legacy_id"]
    names.note(scope.link, row["id"], found.id)
    until = found.row["capture_before"] if had is None else _moment(row["capture_before"])
    return {
        **row,
        "user_id": user_ids.get(payer, row["user_id"]),
        "version": version,
        "overdue": until is not None and until <= datetime.now(UTC),
    }


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _good(scope: Scope, asked: dict[str, Any], after: str | None, limit: int) -> list[StoreRow]:
    """Return a page of the store without the rows that break our rules."""
    try:
        return scope.link.store.page(asked, after, limit)
    except RowsRejected as error:
        return list(error.rows.values())


def _pair(found: Any) -> tuple[list[Any], str | None]:
    rows, cursor = found
    return rows, cursor
