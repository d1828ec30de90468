"""The ledger over HTTP, as a client uses it: short calls, whole answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from tests.world import Reply, World

LEDGER = "/v1/ledger"
TRANSACTIONS = f"{LEDGER}/transactions"
HOLDS = f"{LEDGER}/holds"


def leg(debit: str, credit: str, amount_minor: int, currency: str = "EUR") -> dict[str, Any]:
    """Return a leg as it is sent."""
    return {"debit": debit, "credit": credit, "amount_minor": amount_minor, "currency": currency}


def transaction(*legs: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    """Return a transaction as it is sent, under an id of its own."""
    return {"id": str(uuid4()), "legs": [leg(*each) for each in legs], **more}


def refusal(answer: Reply) -> tuple[int, str, list[str]]:
    """Return status, code and pointers of a refusal."""
    found = answer.json
    return found["status"], found["code"], [each.get("pointer") for each in found["errors"]]


class Till:
    """A client of one tenant's book, with a bank, and `a`, `b` with a floor of 0; `a` has 1,000."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.open("bank", "debit", floor_minor=None)
        self.open("a")
        self.open("b")
        assert self.post(("bank", "a", 1000)).status_code == 201

    def open(self, code: str, side: str = "credit", **more: Any) -> None:
        """Open an account."""
        given = {"code": code, "currency": "EUR", "normal_side": side, **more}
        answer = self.world.post(f"{LEDGER}/accounts", given, keyed=False)
        assert answer.status_code == 201, answer.json

    def change(self, code: str, **changes: Any) -> None:
        """Change an account."""
        answer = self.world.patch(f"{LEDGER}/accounts/{code}", changes)
        assert answer.status_code == 200, answer.json

    def send(self, path: str, body: dict[str, Any], **headers: str) -> Reply:
        """POST without a key: an id, or that nothing happens, is enough."""
        return self.world.post(path, body, keyed=False, **headers)

    def post(self, *legs: tuple[Any, ...], **more: Any) -> Reply:
        """Post a transaction."""
        return self.send(TRANSACTIONS, transaction(*legs, **more))

    def batch(self, *transactions: Any, **more: Any) -> Reply:
        """Post a batch."""
        return self.send(f"{TRANSACTIONS}/batch", {"transactions": list(transactions), **more})

    def reverse(self, transaction_id: str, **more: Any) -> Reply:
        """Take a transaction back."""
        path = f"{TRANSACTIONS}/{transaction_id}/reverse"
        return self.send(path, {"id": str(uuid4()), **more})

    def hold(self, debit: str, credit: str, amount_minor: int, **more: Any) -> Reply:
        """Place a hold."""
        return self.send(HOLDS, transaction((debit, credit, amount_minor), **more))

    def capture(self, hold_id: str, **more: Any) -> Reply:
        """Capture a hold."""
        return self.send(f"{HOLDS}/{hold_id}/capture", {"id": str(uuid4()), **more})

    def void(self, hold_id: str, **more: Any) -> Reply:
        """Void a hold."""
        return self.send(f"{HOLDS}/{hold_id}/void", {"id": str(uuid4()), **more})

    def balance(self, code: str) -> Any:
        """Return an account's balance."""
        return self.world.get(f"{LEDGER}/accounts/{code}/balance").json

    def posted(self, *codes: str) -> list[int]:
        """Return what is posted on each account."""
        return [self.balance(code)["posted_minor"] for code in codes]

    def written(self) -> list[tuple[Any, ...]]:
        """Return what a refusal without a stored outcome leaves as it was."""
        return self.world.rows(
            "SELECT (SELECT count(*) FROM ledger_transactions), (SELECT count(*) FROM"
            " ledger_entries), (SELECT sum(version) FROM ledger_balances), (SELECT count(*) FROM"
            " ledger_holds), (SELECT count(*) FROM idempotency_keys)"
        )
