"""A ledger made by hand: postings of every kind, at times of the test's choice.

It says once more, row by row, what the service's statements do in one: so tests of reading need no
payment, and can make what no command makes yet (holds, stripes, forced transactions).
"""

from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import psycopg
from psycopg import sql

from persistence.embedded_postgres import OWNER_ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TENANT = "acme"
START = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@contextlib.contextmanager
def unchecked_clone(admin: psycopg.Connection[Any], template: str) -> Iterator[str]:
    """Yield the name of a clone to tamper with: nobody asks for its invariants afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    parts = {
        "name": sql.Identifier(name),
        "owner": sql.Identifier(OWNER_ROLE),
        "template": sql.Identifier(template),
    }
    create = "CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} STRATEGY WAL_LOG"
    admin.execute(sql.SQL(create).format(**parts))
    try:
        yield name
    finally:
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**parts))


class Book:
    """The book of one tenant. Accounts are named by their code; all are of one currency."""

    def __init__(self, url: str, tenant_id: str = TENANT) -> None:
        """`url`: of the owner, who may write everything."""
        self.tenant_id = tenant_id
        self.conn = psycopg.connect(url, autocommit=True)
        self.now = START
        self._ids: dict[str, int] = {}
        self.run("INSERT INTO tenants (tenant_id, name) VALUES (%s, 'Book')", tenant_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.conn.close()

    def run(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Send any statement and return its rows, if it has any."""
        cursor = self.conn.execute(query.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def open(
        self,
        code: str,
        *,
        side: int = 1,
        stripes: int = 1,
        currency: str = "EUR",
        floor: int | None = None,
        ceiling: int | None = None,
        owner_id: UUID | None = None,
    ) -> int:
        """Open an account, on the credit side unless `side` is -1."""
        ((account_id,),) = self.run(
            "INSERT INTO ledger_accounts"
            " (tenant_id, code, currency, normal_side, stripes, owner_user_id)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING account_id",
            self.tenant_id, code, currency, side, stripes, owner_id,
        )  # fmt: skip
        for stripe in range(stripes):
            self.run(
                "INSERT INTO ledger_balances (tenant_id, account_id, stripe, currency, normal_side,"
                " floor, ceiling) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                self.tenant_id, account_id, stripe, currency, side, floor, ceiling,
            )  # fmt: skip
        self._ids[code] = account_id
        return int(account_id)

    def post(
        self,
        *legs: tuple[str, str, int],
        kind: str = "post",
        stripes: Sequence[tuple[int, int]] = (),
        at: datetime | None = None,
        unbooked: bool = False,
        **header: Any,
    ) -> UUID:
        """Post legs (debit, credit, amount); `header` has more of its columns. Returns its id.

        `unbooked`: without entries, as of a rejected transaction.
        """
        self.now = at or self.now + timedelta(milliseconds=1)
        tx_id = uuid.uuid4()
        columns = {
            "tenant_id": self.tenant_id,
            "id": tx_id,
            "kind": kind,
            "status": "applied",
            "posted_at": self.now,
            "effective_at": self.now,
            "debit_accounts": [self._ids[debit] for debit, _, _ in legs],
            "credit_accounts": [self._ids[credit] for _, credit, _ in legs],
            "amounts": [amount for _, _, amount in legs],
            "stripes": [list(pair) for pair in stripes] or None,
            "actor": "key:test",
            "request_id": "test",
            **header,
        }
        self.run(
            f"INSERT INTO ledger_transactions ({', '.join(columns)})"
            f" VALUES ({', '.join(['%s'] * len(columns))})",
            *columns.values(),
        )
        for leg, (debit, credit, amount) in enumerate(() if unbooked else legs, 1):
            chosen = stripes[leg - 1] if stripes else (0, 0)
            moved = _moved(kind, amount, header.get("released"))
            self._enter(tx_id, leg, (debit, chosen[0], -1), moved, columns["effective_at"])
            self._enter(tx_id, leg, (credit, chosen[1], 1), moved, columns["effective_at"])
        return tx_id

    def hold(self, debit: str, credit: str, amount: int) -> UUID:
        """Reserve an amount; returns the hold's id."""
        hold_id = uuid.uuid4()
        self.post((debit, credit, amount), kind="hold", hold_id=hold_id)
        self.run(
            "INSERT INTO ledger_holds (tenant_id, hold_id, debit_account, credit_account, amount,"
            " remaining, expires_at, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            self.tenant_id, hold_id, self._ids[debit], self._ids[credit], amount, amount,
            self.now + timedelta(days=7), self.now,
        )  # fmt: skip
        return hold_id

    def _enter(
        self,
        tx_id: UUID,
        leg: int,
        where: tuple[str, int, int],
        moved: tuple[int, int],
        effective_at: datetime,
    ) -> None:
        """Write an entry and its balance. `where`: code, stripe, side; `moved`: posted, pending."""
        code, stripe, side = where
        name = "credits" if side == 1 else "debits"
        ((version, balance),) = self.run(
            f"UPDATE ledger_balances SET {name}_posted = {name}_posted + %s,"
            f" {name}_pending = {name}_pending + %s, version = version + 1, last_posted_at = %s"
            " WHERE tenant_id = %s AND account_id = %s AND stripe = %s"
            " RETURNING version, normal_side * (credits_posted - debits_posted)",
            *moved, self.now, self.tenant_id, self._ids[code], stripe,
        )  # fmt: skip
        self.run(
            "INSERT INTO ledger_entries (tenant_id, account_id, stripe, posted_at, version, tx_id,"
            " leg, side, posted, pending, effective_at, balance_after)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            self.tenant_id, self._ids[code], stripe, self.now, version, tx_id, leg, side, *moved,
            effective_at, balance,
        )  # fmt: skip


def _moved(kind: str, amount: int, released: int | None) -> tuple[int, int]:
    """Return what a leg posts and what it changes of the reserved (ledger page, section 3)."""
    return {
        "hold": (0, amount),
        "capture": (amount, -(released or amount)),
        "void": (0, -amount),
        "expire": (0, -amount),
    }.get(kind, (amount, 0))
