"""Applying rows of legacy to new: one use case for live writes, backfill, recovery, repair (D24).

In the caller's transaction. The follower takes a row only if its own version is lower (D23), what
new has and legacy cannot hold stays, and what cannot be applied is told by a code, never a value.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import ValidationFailed
from legacy.rows import mirrored_payments, mirrored_users
from observability import current
from repos import ledger
from services.payment_commands import HOUSE_STRIPES
from services.payment_states import COUNTERS
from services.stripes import thread_stripe
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from legacy.links import Link
    from legacy.rows.mirrored_payments import CopyRow, MovedRow
    from legacy.store import StoreRow
    from persistence.db import Conn

ACTOR = "legacy"
NEVER_LESS = ("captured_minor", "refunded_minor", "fee_minor", "fee_refunded_minor")
AMOUNTS = (*COUNTERS, "end_reason")
DISPUTED = ("disputed_minor", "charged_back_minor")


class NotApplied(Exception):
    """A row that new cannot take: `code`, the columns at fault, and whether it only has to wait."""

    def __init__(self, code: str, *columns: str, waits: bool = False) -> None:
        self.code = code
        self.columns = columns
        self.waits = waits
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Into which tenant's rows, from which link, and whether the ledger is on."""

    tenant_id: str
    domain: str
    link: Link
    ledger: bool


def apply(
    conn: Conn,
    target: Target,
    legacy_id: str,
    found: StoreRow | None,
    refund_id: UUID | None = None,
) -> bool:
    """Bring one row of new to what legacy has; False: it had that version. Raises NotApplied.

    `found` None, or a tombstone: legacy has it no more. `refund_id`: under which a client knows
    the refund that this row brings. The transaction must be marked by `phases.begin_mirror`;
    after NotApplied it is to be rolled back.
    """
    if target.domain == "users":
        return _user(conn, target, legacy_id, found)
    return _payment(conn, target, legacy_id, found, refund_id)


# --- Users --------------------------------------------------------------------------------------


def _user(conn: Conn, target: Target, legacy_id: str, found: StoreRow | None) -> bool:
    given = None if found is None or found.deleted else found.row
    our_id = UUID(given["id"]) if given else _uuid(legacy_id)
    had = mirrored_users.lock(conn, tenant_id=target.tenant_id, legacy_id=legacy_id, user_id=our_id)
    if given is None:
        return had is not None and _erase(conn, target, had, found)
    if had is None:
        return _insert_user(conn, target, found)
    row = user_row(target, legacy_id, given, had)
    version = _version(target, found, had, row)
    if version is None:
        return False
    changed = mirrored_users.update(
        conn,
        tenant_id=target.tenant_id,
        user_id=had.id,
        row=row,
        version=version,
        clears_password=_clears_password(row, had),
    )
    if not changed:
        raise NotApplied("email_taken", "email")
    return True


def _clears_password(row: dict[str, Any], had: mirrored_users.CopyRow) -> bool:
    """D40: a changed hash of legacy ends ours, or the old password would come back."""
    changed = row["legacy_password_hash"] != had.legacy_password_hash
    return bool(changed or row["status"] == "deleted")


def _insert_user(conn: Conn, target: Target, found: StoreRow | None) -> bool:
    assert found is not None  # noqa: S101 - the caller has looked.
    row = {**user_row(target, found.id, found.row, None), "version": found.version}
    if not mirrored_users.insert(conn, tenant_id=target.tenant_id, rows=[row]):
        raise NotApplied("email_taken", "email")
    return True


def user_row(
    target: Target, legacy_id: str, given: dict[str, Any], had: mirrored_users.CopyRow | None
) -> dict[str, Any]:
    """Return a user's row as JSON: what the map does not fill is as new has it."""
    row = _merged(target, legacy_id, given, asdict(had) if had else {})
    try:
        row["email_norm"] = normalise_email(row["email"]) if row["email"] else None
    except ValidationFailed:
        raise NotApplied("email_invalid", "email") from None
    return row


def _erase(conn: Conn, target: Target, had: mirrored_users.CopyRow, found: StoreRow | None) -> bool:
    """A user gone at the truth is soft-deleted: payments point to it (D25)."""
    if had.status == "deleted":
        return False
    empty = dict.fromkeys(("email", "legacy_password_hash", "display_name", "email_verified_at"))
    gone = {**asdict(had), **empty, "email_verified": False, "status": "deleted"}
    mirrored_users.update(
        conn,
        tenant_id=target.tenant_id,
        user_id=had.id,
        row={**_json(gone), "email_norm": None},
        version=max(had.version + 1, found.version if found else 0),
        clears_password=True,
    )
    return True


# --- Payments -----------------------------------------------------------------------------------


def _payment(
    conn: Conn,
    target: Target,
    legacy_id: str,
    found: StoreRow | None,
    refund_id: UUID | None,
) -> bool:
    if found is None or found.deleted:
        raise NotApplied("payment_vanished")  # D25: a payment is never deleted.
    given = found.row
    had = mirrored_payments.lock(
        conn, tenant_id=target.tenant_id, legacy_id=legacy_id, payment_id=UUID(given["id"])
    )
    if had is None:
        made = insert_payments(conn, target, [found])
        if not made:
            raise _why_not_inserted(conn, target, given)
        return True
    row = _merged(target, legacy_id, _with_amounts(target, given, had), asdict(had))
    version = _version(target, found, had, row)
    if version is None:
        return False
    _check_amounts(row, had)
    moved = mirrored_payments.update(
        conn,
        tenant_id=target.tenant_id,
        payment_id=had.id,
        row=row,
        version=version,
        unposted=not target.ledger,
        capture_id=uuid7(),
        refund_id=refund_id or uuid7(),
        actor=ACTOR,
        request_id=current().request_id,
    )
    if moved is not None:
        _post(conn, target, moved)
    return moved is not None


def _with_amounts(target: Target, given: dict[str, Any], had: CopyRow) -> dict[str, Any]:
    """Return legacy's row with the amounts that its status stands for, if that has changed.

    A store that has a status only gives amounts that follow from it: what new knows better stays
    as long as the status, as that store can say it, is the same (V3).
    """
    ours = {**asdict(had), "legacy_id": given["legacy_id"]}
    if "status" in target.link.compare.differing(given, ours):
        return given
    kept = {name: ours[name] for name in AMOUNTS if name not in target.link.columns}
    return {**given, "status": had.status, **kept}


def insert_payments(conn: Conn, target: Target, found: Sequence[StoreRow]) -> list[MovedRow]:
    """Insert payments that new lacks; return those that were made, posted. NotApplied."""
    rows = [new_payment(target, each) for each in found]
    made = mirrored_payments.insert(
        conn,
        tenant_id=target.tenant_id,
        rows=rows,
        unposted=not target.ledger,
        actor=ACTOR,
        request_id=current().request_id,
    )
    for moved in made:
        _post(conn, target, moved)
    return made


def new_payment(target: Target, found: StoreRow) -> dict[str, Any]:
    """Return a payment's row to insert, as JSON, with ids of what it is made of. NotApplied."""
    row = _merged(target, found.id, found.row, {})
    _check_fees(row)
    parts = ("capture_id", "refund_id", "dispute_id", "loss_id")
    return {**row, **{name: str(uuid7()) for name in parts}, "version": found.version}


def _why_not_inserted(conn: Conn, target: Target, given: dict[str, Any]) -> NotApplied:
    payer = mirrored_users.read(
        conn,
        tenant_id=target.tenant_id,
        legacy_ids=[given["user_legacy_id"]],
        user_ids=[UUID(given["user_id"])],
    )
    if not payer:
        return NotApplied("user_missing", "user_id", waits=True)
    return NotApplied("duplicate_reference", "reference")


def _check_amounts(row: dict[str, Any], had: CopyRow) -> None:
    less = [name for name in NEVER_LESS if row[name] < getattr(had, name)]
    if less:
        raise NotApplied("amount_decreased", *less)
    other = [name for name in DISPUTED if row[name] != getattr(had, name)]
    if other:
        raise NotApplied("disputes_differ", *other)
    _check_fees({name: row[name] - getattr(had, name) for name in NEVER_LESS})


def _check_fees(amounts: dict[str, Any]) -> None:
    """A fee is part of a capture: without one that large nothing here could hold it."""
    for fee, amount in (("fee_minor", "captured_minor"), ("fee_refunded_minor", "refunded_minor")):
        if amounts[fee] > amounts[amount]:
            raise NotApplied("fee_unexplained", fee)


def _post(conn: Conn, target: Target, moved: MovedRow) -> None:
    """Post what a copy moved, if it moved anything and the ledger is on (D24)."""
    amounts = {name: getattr(moved, name) for name in (*NEVER_LESS, *DISPUTED)}
    if not target.ledger or not any(amounts.values()):
        return
    names = ("version", "user_id", "gateway", "currency")
    posting = {name: getattr(moved, name) for name in names} | amounts
    posting |= {"tenant_id": target.tenant_id, "payment_id": moved.id, "actor": ACTOR}
    posting |= {"request_id": current().request_id, "stripe": thread_stripe()}
    if mirrored_payments.post(conn, transaction_id=uuid7(), **posting) is not None:
        return
    user, clearing = f"users:{moved.user_id}", f"gateways:{moved.gateway}:clearing"
    ledger.open_accounts(
        conn,
        tenant_id=target.tenant_id,
        currency=moved.currency,
        user_id=moved.user_id,
        codes=[f"{user}:available", f"{user}:disputed", clearing, "platform:fees"],
        house_stripes=HOUSE_STRIPES,
    )
    if mirrored_payments.post(conn, transaction_id=uuid7(), **posting) is None:
        raise NotApplied("ledger_refused")


# --- Both ---------------------------------------------------------------------------------------


def _merged(
    target: Target, legacy_id: str, given: dict[str, Any], had: dict[str, Any]
) -> dict[str, Any]:
    """Return the row to write, as JSON: given columns of the map over what new has."""
    keeps = {name for name in had if name not in target.link.columns and name not in AMOUNTS}
    row = {**given, **{name: had[name] for name in keeps if name in given}}
    return {**_json(row), "legacy_id": legacy_id}


def _version(target: Target, found: StoreRow | None, had: Any, row: dict[str, Any]) -> int | None:
    """Return the version to write; None: new has this row already.

    A program that does not raise versions is followed by what its rows say.
    """
    assert found is not None  # noqa: S101 - the caller has looked.
    if found.version > had.version:
        return found.version
    if had.legacy_id is None:  # The two were never brought together: no version tells them apart.
        return int(had.version) + 1
    same = all(row[name] == value for name, value in _json(asdict(had)).items() if name in row)
    if target.link.follows_versions or same:
        return None
    return int(had.version) + 1


def _json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in row.items() if name != "version"}


def _text(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return _moment(value) if hasattr(value, "isoformat") else value


def _moment(value: datetime) -> str:
    return value.isoformat()


def _uuid(text: str) -> UUID:
    """Return the id of a row that came from here, or one that nobody has."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
