"""Postings: transactions written, whatever their kind, and read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """What became of item `n`, from 1; `n` 0 is about the whole call (migration 0036).

    `pointer` is of a member of the item, `facts` holds members of its answer, `expires_at` is of
    the idempotency key.
    """

    n: int
    outcome: str
    code: str | None
    pointer: str | None
    posted_at: datetime | None
    facts: Any
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRow:
    """What the database has decided of a transfer, as members of its answer."""

    facts: dict[str, Any]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRow:
    """When the first of a batch was posted; None: nothing was."""

    posted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRow:
    """A transaction. `legs` are by code; `balances` are those after it, of unstriped accounts."""

    id: UUID
    kind: str
    status: str
    reason: str | None
    reference: str | None
    hold_id: UUID | None
    reverses: UUID | None
    final: bool
    forced: bool
    posted_at: datetime
    effective_at: datetime
    expires_at: datetime | None
    legs: list[Any]
    released_minor: int | None
    metadata: dict[str, Any] | None
    actor: str
    request_id: str
    reversed_by: UUID | None
    leaf_index: int | None
    balances: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """A transaction that a page of the log looked at. `is_edge`: it has looked no further."""

    posted_at: datetime
    id: UUID
    is_shown: bool
    is_edge: bool


GET = statement("postings/get", TransactionRow)
LIST = statement("postings/list", PositionRow)
LIST_BY_ACCOUNT = statement("postings/list_by_account", PositionRow)
LIST_BY_IDS = statement("postings/list_by_ids", TransactionRow)
LIST_BY_REFERENCE = statement("postings/list_by_reference", PositionRow)
POST_PLAIN = statement("postings/post_plain", PlainRow)
RECORD = statement("postings/record", ResultRow)
TRANSFER = statement("postings/transfer", TransferRow)


def get(conn: Conn, *, tenant_id: str, transaction_id: UUID) -> TransactionRow | None:
    """Read one transaction, applied or rejected."""
    return GET.one_or_none(conn, tenant_id=tenant_id, transaction_id=transaction_id)


def list_(conn: Conn, **filters: Any) -> list[PositionRow]:
    """Find a page of the log; the filters are the parameters of the file, here and below."""
    return LIST.all(conn, **filters)


def list_by_account(conn: Conn, **filters: Any) -> list[PositionRow]:
    """Find a page of one account's transactions."""
    return LIST_BY_ACCOUNT.all(conn, **filters)


def list_by_reference(conn: Conn, **filters: Any) -> list[PositionRow]:
    """Find a page of the transactions whose references are in a range."""
    return LIST_BY_REFERENCE.all(conn, **filters)


def list_by_ids(conn: Conn, *, tenant_id: str, ids: list[UUID]) -> list[TransactionRow]:
    """Read transactions, newest first, without the balances after them."""
    return LIST_BY_IDS.all(conn, tenant_id=tenant_id, ids=ids)


def record(conn: Conn, *, tenant_id: str, request: str) -> list[ResultRow]:
    """Decide and write what `request` asks, JSON text as migration 0036 describes it."""
    return RECORD.all(conn, tenant_id=tenant_id, request=request)


def post_plain(conn: Conn, **columns: Any) -> datetime | None:
    """Post a batch in one go; the time of its first, each next one is a microsecond later.

    None: something stands against one of them, and nothing has happened. The columns are the
    parameters of the file (migration 0040).
    """
    return POST_PLAIN.one(conn, **columns).posted_at


def transfer(
    conn: Conn,
    *,
    tenant_id: str,
    id: UUID,  # noqa: A002  # The column's name.
    kind: str,
    debit: str,
    credit: str,
    currency: str,
    amount_minor: int,
    stripe: int,
    reference: str | None,
    metadata: str | None,
    metadata_hash: bytes | None,
    request_hash: bytes,
    actor: str,
    request_id: str,
    **claim: Any,
) -> TransferRow | None:
    """Post one leg; None: something stands against it, and nothing has happened.

    `claim`: scope, key (None: the id decides), operation, fingerprint, fingerprint_version, ttl_s
    and `answer`, JSON text that the stored answer begins with.
    """
    return TRANSFER.one_or_none(
        conn,
        tenant_id=tenant_id,
        id=id,
        kind=kind,
        debit=debit,
        credit=credit,
        currency=currency,
        amount_minor=amount_minor,
        stripe=stripe,
        reference=reference,
        metadata=metadata,
        metadata_hash=metadata_hash,
        request_hash=request_hash,
        actor=actor,
        request_id=request_id,
        **claim,
    )
