"""A payment in plain Python: section 3 of the payments page said once more, without SQL.

Each command returns None if it is done, else the code that it must be refused with. It is written
from the page, not from the service: tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Wallet:
    """What one user may spend."""

    available: int = 0


@dataclass
class ModelPayment:
    """One payment of `amount`; `method` is how it is captured."""

    amount: int
    method: str = "manual"
    wallet: Wallet = field(default_factory=Wallet)
    authorized: int = 0
    captured: int = 0
    voided: int = 0
    refunded: int = 0
    disputed: int = 0
    charged_back: int = 0
    fee: int = 0
    fee_refunded: int = 0
    end_reason: str | None = None
    overdue: bool = False
    version: int = 1
    # Amount and state of each dispute, in the order they were opened.
    disputes: list[list[int | str]] = field(default_factory=list)

    @property
    def capturable(self) -> int:
        """What is promised and neither taken nor given back."""
        return self.authorized - self.captured - self.voided

    @property
    def refundable(self) -> int:
        """What is taken and neither given back nor fought over."""
        return self.captured - self.refunded - self.disputed - self.charged_back

    @property
    def status(self) -> str:
        """Say what the amounts mean."""
        over = self.refundable == 0 and self.capturable == 0
        if self.disputed:
            return "disputed"
        if self.charged_back:
            return "charged_back" if over else "partially_charged_back"
        if self.refunded:
            return "refunded" if over else "partially_refunded"
        if self.captured:
            return "partially_captured" if self.capturable else "captured"
        return self.end_reason or ("authorized" if self.authorized else "created")

    # --- Commands -------------------------------------------------------------------------------

    def authorize(self, asked: int = 0) -> str | None:
        """Promise `asked`, 0: all."""
        if self.status != "created":
            return "invalid_state"
        if asked > self.amount:
            return "amount_exceeds_authorizable"
        self.authorized = asked or self.amount
        if self.method == "automatic":
            self._take(self.authorized, 0)
        self.version += 1
        return None

    def capture(self, asked: int = 0, fee: int = 0, final: bool | None = None) -> str | None:
        """Take `asked`, 0: all that is left; of a created payment all is promised with it."""
        is_new = self.status == "created"
        left = self.amount if is_new else self.capturable
        if left == 0:
            return "invalid_state"
        if self.overdue:
            return "payment_expired"
        if final is False and self.method != "manual_multiple":
            return "validation_failed"
        if asked > left:
            return "amount_exceeds_capturable"
        if fee > (asked or left):
            return "fee_exceeds_amount"
        if is_new:
            self.authorized = self.amount
        self._take(asked or left, fee)
        if final or self.method != "manual_multiple":
            self.voided += self.capturable
        self._settle()
        return None

    def void(self, reason: str = "voided") -> str | None:
        """Give back what was promised."""
        if self.capturable == 0:
            return "invalid_state"
        self.voided += self.capturable
        if not self.captured:
            self.end_reason = reason
        self._settle()
        return None

    def end(self, reason: str) -> str | None:
        """Cancel or fail."""
        if self.status != "created":
            return "invalid_state"
        self.end_reason = reason
        self.version += 1
        return None

    def refund(self, asked: int = 0, fee: int = 0, *, forced: bool = False) -> str | None:
        """Give `asked` back, 0: all that is left."""
        if self.refundable == 0:
            return "invalid_state"
        if asked > self.refundable:
            return "amount_exceeds_refundable"
        amount = asked or self.refundable
        if fee > min(amount, self.fee - self.fee_refunded):
            return "fee_exceeds_amount"
        if amount > fee and self.wallet.available < amount - fee and not forced:
            return "insufficient_funds"
        self.refunded += amount
        self.fee_refunded += fee
        self.wallet.available -= amount - fee
        self.version += 1
        return None

    def dispute(self, asked: int = 0) -> str | None:
        """Set `asked` aside, 0: all that is left; nobody asks whether it is there."""
        if self.refundable == 0:
            return "invalid_state"
        if asked > self.refundable:
            return "amount_exceeds_refundable"
        amount = asked or self.refundable
        self.disputes.append([amount, "open"])
        self.disputed += amount
        self.wallet.available -= amount
        self.version += 1
        return None

    def resolve(self, number: int, outcome: str, fee: int = 0) -> str | None:
        """End a dispute; a lost one may be won afterwards."""
        amount, state = self.disputes[number]
        assert isinstance(amount, int)
        if (state, outcome) not in {("open", "won"), ("open", "lost"), ("lost", "won")}:
            return "invalid_state"
        if fee and outcome == "won":
            return "validation_failed"
        if state == "open":
            self.disputed -= amount
        else:
            self.charged_back -= amount
        if outcome == "lost":
            self.charged_back += amount
            self.fee += fee
            self.wallet.available -= fee
        else:
            self.wallet.available += amount
        self.disputes[number][1] = outcome
        self.version += 1
        return None

    def _take(self, amount: int, fee: int) -> None:
        self.captured += amount
        self.fee += fee
        self.wallet.available += amount - fee

    def _settle(self) -> None:
        self.version += 1
        self.overdue = self.overdue and self.capturable > 0

    # --- All that can be reached ----------------------------------------------------------------

    @property
    def amounts(self) -> tuple[int, int, int, int, int, int, str | None]:
        """Return what the status is a function of."""
        return (
            *(self.authorized, self.captured, self.voided),
            *(self.refunded, self.disputed, self.charged_back),
            self.end_reason,
        )

    def moves(self) -> Iterator[Callable[[ModelPayment], str | None]]:
        """Yield every command with every amount, for a copy of this payment."""
        for asked in range(1, self.amount + 1):
            yield partial(ModelPayment.authorize, asked=asked)
            for final in (True, False):
                yield partial(ModelPayment.capture, asked=asked, final=final)
            yield partial(ModelPayment.refund, asked=asked, forced=True)
            yield partial(ModelPayment.dispute, asked=asked)
        for reason in ("voided", "expired"):
            yield partial(ModelPayment.void, reason=reason)
        for reason in ("cancelled", "failed"):
            yield partial(ModelPayment.end, reason=reason)
        for number in range(len(self.disputes)):
            for outcome in ("won", "lost"):
                yield partial(ModelPayment.resolve, number=number, outcome=outcome)
