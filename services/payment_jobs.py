"""Jobs of payments: authorisations that lapse (P11), and a ledger that was off (P34).

Each payment is its own statement: one that somebody changes now is left for the next run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from uuid_utils.compat import uuid7

from errors import AppError, Contention, DuplicateReference
from observability import current, log
from repos import payments
from services.idempotency import TRIES
from services.jobs import Finding, tenants_of
from services.payment_commands import open_accounts
from services.payment_postings import AccountsMissing, posting_of, refused_by_book
from services.stripes import thread_stripe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from persistence.db import Database
    from repos.payments import ExpiringRow, PostedRow
    from services.jobs import Run

# As many statements as fit the deadline of a batch, with room for a slow day.
PAGE_MAX = 100
FIRST_ID = UUID(int=0)
SHOWN_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentJobSettings:
    """How long before an authorisation lapses somebody is told, and whether payments post."""

    expiry_warning_s: int = 172_800
    ledger: bool = False


# --- Authorisations that lapse ------------------------------------------------------------------


def expire_payments(db: Database, settings: PaymentJobSettings, run: Run) -> Iterator[int]:
    """Expire what is overdue, and warn once of what soon will be; the first to lapse first.

    Raises Finding for those whose rows are broken: the others lapse all the same.
    """
    broken: list[str] = []
    for tenant_id in tenants_of(db, run):
        at, last_id = "-infinity", FIRST_ID
        found, page = 0, 0
        while found == page:
            page = min(run.batch, PAGE_MAX)
            with db.read() as conn:
                rows = payments.list_expiring(
                    conn,
                    tenant_id=tenant_id,
                    warning_s=settings.expiry_warning_s,
                    after_at=at,
                    after_id=last_id,
                    row_limit=page,
                )
            found = len(rows)
            if rows:
                at, last_id = rows[-1].capture_before.isoformat(), rows[-1].id
            if run.ask.dry_run:
                yield found
            else:
                yield sum(_lapse_or_note(db, settings, tenant_id, row, broken) for row in rows)
    if broken:
        raise Finding(f"not lapsed: {_listed(broken)}")


def _lapse_or_note(
    db: Database, settings: PaymentJobSettings, tenant_id: str, row: ExpiringRow, broken: list[str]
) -> int:
    try:
        return _lapse(db, settings, tenant_id, row)
    except AppError:
        raise  # Of the database, not of this payment: the job is tried again.
    except Exception as error:  # noqa: BLE001  # One would keep all that are due later, for ever.
        log.error("payments.not_lapsed", payment_id=str(row.id), error=type(error).__name__)
        broken.append(str(row.id))
        return 0


def _lapse(db: Database, settings: PaymentJobSettings, tenant_id: str, row: ExpiringRow) -> int:
    by = current()
    who = {"tenant_id": tenant_id, "actor": by.actor or "job", "request_id": by.request_id}
    with db.write() as conn:
        if row.is_overdue:
            return payments.expire(conn, payment_id=row.id, **who)
        return payments.warn(conn, payment_id=row.id, warning_s=settings.expiry_warning_s, **who)


# --- A ledger that was off ----------------------------------------------------------------------


def catch_up(db: Database, settings: PaymentJobSettings, run: Run) -> Iterator[int]:
    """Post the events of payments that the ledger does not know; raises Finding for the refused.

    Nothing is done while the ledger is still off: new events would be missing at once.
    """
    refused: list[str] = []
    for tenant_id in tenants_of(db, run) if settings.ledger else ():
        last_id = FIRST_ID
        found, page = 0, 0
        while found == page:
            page = min(run.batch, PAGE_MAX)
            with db.read() as conn:
                rows = payments.list_unposted(
                    conn, tenant_id=tenant_id, after_id=last_id, row_limit=page
                )
            found, posted = len(rows), 0
            for row in rows:
                last_id = row.id
                posted += 1 if run.ask.dry_run else _catch_up(db, tenant_id, row.id, refused)
            yield posted
    if refused:
        raise Finding(f"refused: {_listed(refused)}")


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return f"{', '.join(names[:SHOWN_MAX])}{more}"


def _catch_up(db: Database, tenant_id: str, payment_id: UUID, refused: list[str]) -> int:
    """Post what is missing of one payment, in order; how many events that were."""
    posted, left = 0, TRIES
    while True:
        row = _post_event(db, tenant_id, payment_id)
        if row is None:
            return posted  # It is done, or somebody changes it now.
        if row.is_posted:
            posted += min(row.missing, 1)
            continue
        error, left = _refusal(db, tenant_id, payment_id, row), left - 1
        if isinstance(error, AccountsMissing):
            open_accounts(db, tenant_id, error)
        if left > 0 and (error is None or isinstance(error, AccountsMissing)):
            continue  # The reason has gone.
        code = error.code if error else Contention.code
        log.error("ledger.refused", payment_id=str(payment_id), type=row.type, code=code)
        refused.append(f"{payment_id} {code}")
        return posted


def _post_event(db: Database, tenant_id: str, payment_id: UUID) -> PostedRow | None:
    by = current()
    try:
        with db.write() as conn:
            return payments.post_event(
                conn,
                tenant_id=tenant_id,
                payment_id=payment_id,
                transaction_id=uuid7(),
                stripe=thread_stripe(),
                actor=by.actor or "job",
                request_id=by.request_id,
            )
    except DuplicateReference:
        return None  # Another run is at it: the event was posted a moment ago.


def _refusal(db: Database, tenant_id: str, payment_id: UUID, row: PostedRow) -> AppError | None:
    """Say why the book did not take an event, though no floor counts: it has happened."""
    with db.read() as conn:
        facts = payments.explain(
            conn,
            tenant_id=tenant_id,
            payment_id=payment_id,
            owner_id=None,
            kind="none",
            reference=None,
            ledger=True,
            stripe=thread_stripe(),
        )
    if facts.payment is None or row.type is None:
        raise RuntimeError(f"Bug: {payment_id} is unposted and not there")
    payment = {**facts.payment, "unposted": False}
    posting = posting_of(payment, row.type, row.amount_minor or 0, row.fee_minor or 0)
    return refused_by_book(payment, facts.accounts, replace(posting, forced=True))
