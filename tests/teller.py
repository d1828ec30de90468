"""Somebody at the ledger's counter: opens accounts, posts, holds, and says what became of it.

It speaks to the services themselves, without HTTP: as ids are its own, each call is by id.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import AppError
from services.actors import Actor
from services.ledger_accounts import Opening
from services.posting_requests import Posting
from services.postings import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from services.idempotency import Answer
    from services.posting_batches import Faulty
    from tests.world import World

TENANT = "default"
SCOPES = frozenset({"ledger:read", "ledger:post", "ledger:admin"})
ACTOR = Actor(TENANT, "key:teller", SCOPES)


@dataclass(frozen=True, slots=True)
class Leg:
    """One movement of money."""

    debit: str
    credit: str
    amount_minor: int
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Expected:
    """Which version an account is to have."""

    account: str
    version: int
    currency: str = "EUR"


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all calls at the same moment and return what they return."""
    barrier = Barrier(len(calls))

    def start(call: Callable[[], Any]) -> Any:
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


Legs = tuple[str, str, int]


def posting(*legs: Legs | Leg, kind: str = "post", **more: Any) -> Posting:
    """Return a posting of these legs, under an id of its own unless one is given."""
    read = [leg if isinstance(leg, Leg) else Leg(*leg) for leg in legs]
    document = {
        "legs": [[leg.debit, leg.credit, leg.amount_minor, leg.currency] for leg in read],
        **{name: str(value) for name, value in more.items() if name != "id"},
    }
    given = {"id": uuid7(), **more}
    return Posting(kind=kind, document=document, legs=read, **given)


class Teller:
    """Works on one tenant's book. Every thread may use it."""

    def __init__(self, world: World, actor: Actor = ACTOR) -> None:
        self.world = world
        self.services = world.services
        self.actor = actor

    # --- Accounts -------------------------------------------------------------------------------

    def open(self, code: str, side: str = "credit", floor: int | None = None, **more: Any) -> None:
        """Open an account, on the credit side and without a floor unless asked otherwise."""
        given = {"currency": "EUR", **more}
        opening = Opening(code=code, normal_side=side, floor_minor=floor, **given)
        self.services.ledger_accounts.create(self.actor.tenant_id, opening)

    def change(self, code: str, **changes: Any) -> None:
        """Change an account."""
        self.services.ledger_accounts.change(self.actor.tenant_id, code, None, changes, "cli:test")

    def balances(self, *codes: str) -> list[int]:
        """Return what is posted on each account."""
        return [self.balance(code)["posted_minor"] for code in codes]

    def balance(self, code: str) -> dict[str, Any]:
        """Return posted, available, reachable and version of an account."""
        return dict(self.services.ledger_accounts.get(self.actor, code)["balance"])

    # --- Postings -------------------------------------------------------------------------------

    def send(self, asked: Posting, *, dry_run: bool = False) -> Answer:
        """Have a posting done, or raise what refuses it."""
        order = Order(actor=self.actor, request_id="test", dry_run=dry_run)
        return self.services.postings.post(order, asked)

    def outcome(self, asked: Posting, *, dry_run: bool = False) -> str:
        """Return `created` or `existing`, or the code of the refusal."""
        try:
            answer = self.send(asked, dry_run=dry_run)
        except AppError as error:
            return error.code
        return "existing" if answer.replayed else "created"

    def post(self, *legs: Legs | Leg, **more: Any) -> str:
        """Post legs (debit, credit, amount)."""
        return self.outcome(posting(*legs, **more))

    def hold(self, debit: str, credit: str, amount: int, **more: Any) -> UUID:
        """Place a hold and return its id."""
        given = {"expires_in_s": 3600, **more}
        asked = posting((debit, credit, amount), kind="hold", **given)
        self.send(asked)
        assert asked.id is not None
        return asked.id

    def examples(self) -> tuple[UUID, UUID]:
        """Open the accounts `bank` and `shop`; return a transaction and an open hold of them."""
        self.open("bank", "debit")
        self.open("shop")
        posted = posting(("bank", "shop", 1_000))
        self.send(posted)
        assert posted.id is not None
        return posted.id, self.hold("shop", "bank", 10)

    def capture(self, hold_id: UUID, amount: int | None = None, **more: Any) -> str:
        """Capture a hold, all that remains if no amount is given."""
        more |= {} if amount is None else {"amount_minor": amount}
        return self.outcome(posting(kind="capture", hold_id=hold_id, **more))

    def void(self, hold_id: UUID, **more: Any) -> str:
        """Release a hold."""
        return self.outcome(posting(kind="void", hold_id=hold_id, **more))

    def reverse(self, transaction_id: UUID, **more: Any) -> str:
        """Take a transaction back."""
        return self.outcome(posting(kind="reverse", reverses=transaction_id, **more))

    def batch(
        self, asked: Sequence[Posting | Faulty], *, is_whole: bool = False, dry_run: bool = False
    ) -> list[str]:
        """Post a batch: outcomes, or codes where something was refused."""
        order = Order(actor=self.actor, request_id="test", dry_run=dry_run)
        results = self.services.posting_batches.post(order, asked, is_whole=is_whole)
        return [each["code"] or each["outcome"] for each in results]

    # --- The book -------------------------------------------------------------------------------

    def overdue(self, hold_id: UUID, database_owner: str) -> None:
        """Let a hold's time have passed: nobody waits for it."""
        import psycopg  # noqa: PLC0415  # Few tests need the database itself.

        with psycopg.connect(database_owner, autocommit=True) as conn:
            conn.execute(
                "UPDATE ledger_holds SET expires_at = created_at WHERE hold_id = %s", [hold_id]
            )

    def count(self, **columns: Any) -> int:
        """Count transactions whose columns are so."""
        where = " AND ".join(f"{name}::text = %s" for name in columns) or "true"
        query = f"SELECT count(*) FROM ledger_transactions WHERE {where}"
        ((found,),) = self.world.rows(query, *map(str, columns.values()))
        return int(found)
