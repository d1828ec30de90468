"""Accounts of the ledger: opened, listed, changed (LA1 to LA9, LS5).

Status and limits hold for postings at once; their changes are transactions without legs, so that
history and seals cover them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from errors import (
    AccountCodeInvalid,
    AccountCodeReserved,
    AccountExists,
    AccountNotEmpty,
    AppError,
    Contention,
    CurrencyAmbiguous,
    CurrencyUnsupported,
    LimitBelowBalance,
    NotFound,
    UserNotFound,
    ValidationFailed,
    VersionMismatch,
)
from observability import current
from repos import ledger_accounts
from repos.ledger_accounts import AccountRow
from services.canonical_json import canonical, digest
from services.ledger import SIDE_NAMES, SIDES
from services.payment_states import (
    METADATA_MAX_BYTES,
    METADATA_MAX_NAMES,
    merged,
    metadata_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from persistence.db import Database
    from repos.ledger_accounts import ListedRow
    from services.actors import Actor
    from services.currencies import Currencies
    from services.cursors import Cursors
    from services.ledger_writes import LedgerWrites

SEGMENT = "[a-z0-9][a-z0-9._-]{0,62}"
CODE = re.compile(rf"{SEGMENT}(:{SEGMENT}){{0,9}}")
CODE_MAX_BYTES = 255
# Accounts below these are the service's: for payments (LA7).
RESERVED = frozenset({"users", "gateways", "platform"})
STRIPES_MAX = 64
# No character of a code sorts after it.
AFTER_ANY = "~"
LOGGED = ("status", "floor_minor", "ceiling_minor")
TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """An account to be opened; limits in minor units, None: no limit."""

    code: str
    currency: str
    normal_side: str
    name: str | None = None
    floor_minor: int | None = 0
    ceiling_minor: int | None = None
    stripes: int = 1
    owner_user_id: UUID | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFilters:
    """What a list shows; every default lets all pass."""

    prefix: str = ""
    currency: str | None = None
    status: str | None = None
    owner_user_id: UUID | None = None
    metadata: Mapping[str, str] | None = None


class LedgerAccounts:
    """Use cases of accounts. They are shown as data: amounts as `_minor` and `_decimal`."""

    def __init__(
        self,
        db: Database,
        writes: LedgerWrites,
        cursors: Cursors,
        currencies: Currencies,
        scan_rows: int,
    ) -> None:
        """`scan_rows` bounds what one page of a list reads."""
        self._db = db
        self._writes = writes
        self._cursors = cursors
        self._currencies = currencies
        self._scan_rows = scan_rows

    def create(self, tenant_id: str, opening: Opening) -> tuple[dict[str, Any], bool]:
        """Open an account; the same again is harmless. Returns it, and whether it is new.

        Raises AccountCodeInvalid, AccountCodeReserved, AccountExists, CurrencyUnsupported,
        UserNotFound, LimitBelowBalance, ValidationFailed.
        """
        _check(opening)
        wanted: dict[str, Any] = {
            "code": opening.code,
            "currency": opening.currency,
            "name": opening.name,
            "normal_side": SIDES[opening.normal_side],
            "stripes": opening.stripes,
            "floor": _text(opening.floor_minor),
            "ceiling": _text(opening.ceiling_minor),
            "owner_user_id": _text(opening.owner_user_id),
            "metadata": json.dumps(dict(opening.metadata)),
        }
        with self._db.write() as conn:
            made = ledger_accounts.create(conn, tenant_id=tenant_id, **wanted)
        rows = self._read(tenant_id, opening.code, opening.currency)
        if not rows:
            raise self._why_not(tenant_id, opening)
        if made is None and not _is_as(rows[0], opening):
            raise AccountExists
        return self._shown(rows[0]), made is not None

    def get(self, actor: Actor, code: str, currency: str | None = None) -> dict[str, Any]:
        """Return an account. Raises NotFound, for what is out of reach too, CurrencyAmbiguous."""
        return self._shown(self._one(actor.tenant_id, code, currency, actor.owner_id))

    def page(
        self, actor: Actor, filters: AccountFilters, limit: int, cursor: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return accounts by code and currency, and the next page's cursor or None.

        A page looks at LIST_SCAN_ROWS accounts at most. Raises CursorInvalid.
        """
        bound = {"tenant": actor.tenant_id, "owner": actor.owner_id, "filters": repr(filters)}
        after = self._cursors.read("accounts", cursor, bound) if cursor else (filters.prefix, "")
        with self._db.read() as conn:
            rows = ledger_accounts.list_(
                conn,
                tenant_id=actor.tenant_id,
                code_to=filters.prefix + AFTER_ANY,
                currency=filters.currency,
                status=filters.status,
                owner_id=_text(actor.owner_id or filters.owner_user_id),
                metadata=json.dumps(dict(filters.metadata or {})),
                after_code=after[0],
                after_currency=after[1],
                scan_rows=self._scan_rows,
                row_limit=limit + 1,
            )
        shown = [row for row in rows[:limit] if row.is_shown]
        # The page is full, or it has looked at as many accounts as it may.
        last = rows[limit - 1] if len(rows) > limit else rows[-1] if rows else None
        next_cursor = None
        if last and (len(rows) > limit or last.is_edge):
            next_cursor = self._cursors.sign("accounts", [last.code, last.currency], bound)
        return [self._shown(row) for row in shown], next_cursor

    def change(
        self,
        tenant_id: str,
        code: str,
        currency: str | None,
        changes: Mapping[str, Any],
        subject: str,
        if_match: int = 0,
    ) -> dict[str, Any]:
        """Set what `changes` names: members of Opening but code, currency, side; and `status`.

        `metadata` is merged, a None in it removes a name. Raises NotFound, CurrencyAmbiguous,
        VersionMismatch, AccountNotEmpty, LimitBelowBalance, UserNotFound, ValidationFailed,
        Contention.
        """
        for _ in range(TRIES):
            row = self._one(tenant_id, code, currency)
            if if_match not in {0, row.version}:
                raise VersionMismatch(current_version=row.version)
            wanted = _changed(row, changes)
            if all(wanted[name] == getattr(row, name) for name in wanted):
                return self._shown(row)
            if self._set(tenant_id, row, wanted, subject):
                return self._shown(self._one(tenant_id, code, row.currency))
            self._say_why(tenant_id, row, wanted)
            if row.stripes > 1:
                # Each stripe keeps its own limits: bring the money together, and try again.
                request_id = current().request_id
                self._writes.level(tenant_id, code, row.currency, subject, request_id)
        raise Contention(headers={"Retry-After": "1"})

    # --- Parts ----------------------------------------------------------------------------------

    def _one(
        self, tenant_id: str, code: str, currency: str | None, owner_id: UUID | None = None
    ) -> AccountRow:
        rows = self._read(tenant_id, code, currency, owner_id)
        if not rows:
            raise NotFound
        if len(rows) > 1:
            raise CurrencyAmbiguous
        return rows[0]

    def _read(
        self, tenant_id: str, code: str, currency: str | None, owner_id: UUID | None = None
    ) -> list[AccountRow]:
        with self._db.read() as conn:
            return ledger_accounts.get(
                conn, tenant_id=tenant_id, code=code, currency=currency, owner_id=_text(owner_id)
            )

    def _why_not(self, tenant_id: str, opening: Opening) -> AppError:
        with self._db.read() as conn:
            facts = ledger_accounts.explain_create(
                conn,
                tenant_id=tenant_id,
                currency=opening.currency,
                owner_user_id=_text(opening.owner_user_id),
            )
        if not facts.currency_supported:
            return CurrencyUnsupported(errors=_at("/currency", CurrencyUnsupported))
        if not facts.owner_active:
            return UserNotFound(errors=_at("/owner_user_id", UserNotFound))
        return Contention(headers={"Retry-After": "1"})

    def _set(self, tenant_id: str, row: AccountRow, wanted: dict[str, Any], subject: str) -> bool:
        logged = _logged(row, wanted)
        with self._db.write() as conn:
            version = ledger_accounts.change(
                conn,
                tenant_id=tenant_id,
                code=row.code,
                currency=row.currency,
                version=row.version,
                name=wanted["name"],
                status=wanted["status"],
                floor=_text(wanted["floor_minor"]),
                ceiling=_text(wanted["ceiling_minor"]),
                stripes=wanted["stripes"],
                owner_user_id=_text(wanted["owner_user_id"]),
                metadata=json.dumps(wanted["metadata"]),
                transaction_id=self._writes.new_id(),
                is_logged=bool(logged),
                logged=canonical(logged).decode(),
                logged_hash=digest(logged),
                actor=subject,
                request_id=current().request_id,
            )
        return version is not None

    def _say_why(self, tenant_id: str, row: AccountRow, wanted: dict[str, Any]) -> None:
        """Raise what stands against it; what has changed meanwhile, or stripes, do not."""
        now = self._one(tenant_id, row.code, row.currency)
        if wanted["owner_user_id"] not in {None, row.owner_user_id}:
            with self._db.read() as conn:
                facts = ledger_accounts.explain_create(
                    conn,
                    tenant_id=tenant_id,
                    currency=row.currency,
                    owner_user_id=_text(wanted["owner_user_id"]),
                )
            if not facts.owner_active:
                raise UserNotFound(errors=_at("/owner_user_id", UserNotFound))
        if wanted["status"] == "closed" and not _is_empty(now):
            raise AccountNotEmpty
        for name, balance, sign in (
            ("floor_minor", now.available_minor, 1),
            ("ceiling_minor", now.reachable_minor, -1),
        ):
            limit = wanted[name]
            if limit is not None and sign * balance < sign * limit and limit != getattr(row, name):
                raise LimitBelowBalance(errors=_at(f"/{name}", LimitBelowBalance))

    def _shown(self, row: AccountRow | ListedRow) -> dict[str, Any]:
        data = {name: getattr(row, name) for name in AccountRow.__slots__}
        balance = {
            name: data.pop(name) for name in ("posted_minor", "available_minor", "reachable_minor")
        }
        balance["version"] = data.pop("entries")
        shown = {
            **data,
            "normal_side": SIDE_NAMES[row.normal_side],
            "balance": self._currencies.with_decimals(balance, row.currency),
        }
        return self._currencies.with_decimals(shown, row.currency)


def _check(opening: Opening) -> None:
    """Refuse what no account can be (LA2, LA7, LS2)."""
    code = opening.code
    if not CODE.fullmatch(code) or len(code) > CODE_MAX_BYTES:
        raise AccountCodeInvalid(errors=_at("/code", AccountCodeInvalid))
    if code.partition(":")[0] in RESERVED:
        raise AccountCodeReserved(errors=_at("/code", AccountCodeReserved))
    _check_limits(opening.stripes, opening.ceiling_minor)
    # Its balance is 0.
    if (opening.floor_minor or 0) > 0:
        raise LimitBelowBalance(errors=_at("/floor_minor", LimitBelowBalance))
    if (opening.ceiling_minor or 0) < 0:
        raise LimitBelowBalance(errors=_at("/ceiling_minor", LimitBelowBalance))


def _check_limits(stripes: int, ceiling_minor: int | None) -> None:
    if stripes > 1 and ceiling_minor is not None:
        detail = "An account of several stripes has no ceiling: no stripe knows the others."
        raise ValidationFailed(
            errors=({"pointer": "/ceiling_minor", "code": "not_allowed", "detail": detail},)
        )


def _changed(row: AccountRow, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the account as it is wanted. Raises ValidationFailed."""
    names = ("name", "status", "floor_minor", "ceiling_minor", "stripes", "owner_user_id")
    wanted = {name: changes.get(name, getattr(row, name)) for name in names}
    wanted["metadata"] = merged(row.metadata, changes.get("metadata", {}))
    _check_metadata(wanted["metadata"])
    if wanted["stripes"] < row.stripes:
        detail = "The number of stripes can only grow."
        raise ValidationFailed(
            errors=({"pointer": "/stripes", "code": "not_allowed", "detail": detail},)
        )
    _check_limits(wanted["stripes"], wanted["ceiling_minor"])
    return wanted


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > METADATA_MAX_NAMES or metadata_bytes(metadata) > METADATA_MAX_BYTES:
        detail = "Merged, the metadata would have too many names, or bytes."
        raise ValidationFailed(
            errors=({"pointer": "/metadata", "code": "too_large", "detail": detail},)
        )


def _logged(row: AccountRow, wanted: dict[str, Any]) -> dict[str, str]:
    """Return what the `change` transaction says; empty: neither status nor limits change."""
    logged = {}
    for name in LOGGED:
        before, after = getattr(row, name), wanted[name]
        if before != after:
            logged[f"{name}_before"] = "none" if before is None else str(before)
            logged[f"{name}_after"] = "none" if after is None else str(after)
    return logged and {"account": row.code, "currency": row.currency, **logged}


def _is_as(row: AccountRow, opening: Opening) -> bool:
    mine = {name: getattr(opening, name) for name in Opening.__dataclass_fields__}
    mine |= {"normal_side": SIDES[opening.normal_side], "metadata": dict(opening.metadata)}
    return all(getattr(row, name) == value for name, value in mine.items())


def _is_empty(row: AccountRow) -> bool:
    return row.posted_minor == 0 and row.available_minor == row.reachable_minor


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


def _at(pointer: str, error: type[AppError]) -> tuple[Any, ...]:
    return ({"pointer": pointer, "code": error.code, "detail": (error.__doc__ or "").strip()},)
