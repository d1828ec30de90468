"""Applying a payment of legacy to new: row, parts, and the difference to the ledger (D24)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from legacy.merging import ACTOR, AMOUNTS, NotApplied, Target, merged, version_of
from legacy.rows import mirrored_payments, mirrored_users
from observability import current
from repos import ledger
from services.payment_commands import HOUSE_STRIPES
from services.stripes import thread_stripe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from legacy.rows.mirrored_payments import CopyRow, MovedRow
    from legacy.store import StoreRow
    from persistence.db import Conn

NEVER_LESS = ("captured_minor", "refunded_minor", "fee_minor", "fee_refunded_minor")
DISPUTED = ("disputed_minor", "charged_back_minor")


def apply_payment(
    conn: Conn,
    target: Target,
    legacy_id: str,
    found: StoreRow | None,
    refund_id: UUID | None,
) -> bool:
    """As `apply`, of a payment."""
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
    row = merged(target, legacy_id, with_amounts(target, given, had), asdict(had))
    version = version_of(target, found, had, row)
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


def with_amounts(target: Target, given: dict[str, Any], had: CopyRow) -> dict[str, Any]:
    """Return legacy's row with the amounts that its status stands for, if that has changed.

    A store that has a status only gives amounts that follow from it: what new knows better stays
    as long as the status, as that store can say it, is the same (V3).
    """
    ours = {**asdict(had), "legacy_id": given["legacy_id"]}
    if target.is_exact or "status" in target.link.compare.differing(given, ours):
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
    row = merged(target, found.id, found.row, {})
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
