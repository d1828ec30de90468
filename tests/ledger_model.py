"""The rules of the ledger once more, in memory and one thing at a time: what a book should answer.

It knows postings, holds, reversals, groups and limits, and no stripes, times or keys.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from services.posting_requests import Posting

STORED = {
    "account_frozen",
    "account_closed",
    "hold_resolved",
    "already_reversed",
    "not_reversible",
    "insufficient_funds",
    "ceiling_exceeded",
    "capture_exceeds_hold",
}
REVERSIBLE = {"post", "adjust", "capture"}
CREATED, EXISTING = "created", "existing"
# Debited account, credited account, amount.
Moved = tuple[str, str, int]


@dataclass
class Account:
    """An account of the model; debits and credits as posted, what is pending on either side."""

    side: int
    floor: int | None
    ceiling: int | None = None
    status: str = "open"
    debits: int = 0
    credits: int = 0
    debits_pending: int = 0
    credits_pending: int = 0
    version: int = 0

    @property
    def posted(self) -> int:
        """On the account's own side."""
        return self.side * (self.credits - self.debits)

    @property
    def available(self) -> int:
        """What may be spent."""
        return self.posted - (self.debits_pending if self.side == 1 else self.credits_pending)

    @property
    def reachable(self) -> int:
        """What it may come to."""
        return self.posted + (self.credits_pending if self.side == 1 else self.debits_pending)

    def enter(self, side: str, posted: int, pending: int) -> None:
        """Enter a leg on this account: `debits` or `credits`."""
        setattr(self, side, getattr(self, side) + posted)
        setattr(self, f"{side}_pending", getattr(self, f"{side}_pending") + pending)
        self.version += 1

    def broken_by(self, before: Account) -> str | None:
        """Return which limit a change has broken that did not make it better."""
        if self.floor is not None and before.available > self.available < self.floor:
            return "insufficient_funds"
        if self.ceiling is not None and before.reachable < self.reachable > self.ceiling:
            return "ceiling_exceeded"
        return None


@dataclass
class Hold:
    """An open hold."""

    debit: str
    credit: str
    remaining: int


@dataclass
class Known:
    """What is stored under an id."""

    request_hash: bytes
    kind: str
    legs: list[Moved]
    reason: str | None = None
    reversed: bool = False


@dataclass
class Model:
    """A book. `outcome` does what is asked, if it may be done, and says what the ledger says."""

    accounts: dict[str, Account] = field(default_factory=dict)
    known: dict[UUID, Known] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    references: set[str] = field(default_factory=set)

    def outcome(self, asked: Posting, *, stores: bool = True) -> str:
        """Post one: `created`, `existing` or a code. `stores`: a refusal is kept under its id."""
        assert asked.id
        earlier = self.known.get(asked.id)
        same = [leg for leg in asked.legs if leg.debit == leg.credit]
        if same:
            return "same_account"
        if earlier is not None:
            if earlier.request_hash != asked.request_hash:
                return "transaction_id_reused"
            return earlier.reason or EXISTING
        before = copy.deepcopy((self.accounts, self.holds))
        code = self._post(asked)
        if code is None:
            return CREATED
        self.accounts, self.holds = before
        if stores and code in STORED:
            self.known[asked.id] = Known(asked.request_hash, asked.kind, [], reason=code)
        return code

    def batch(self, asked: Sequence[Posting], *, is_whole: bool = False) -> list[str]:
        """Post as if one after another; neighbours of one group together."""
        found: list[str] = []
        for members in _parties(asked, is_whole=is_whole):
            if members[0].group is None and not is_whole:
                found.append(self.outcome(members[0]))
            else:
                found += self._party(members)
        return found

    def _party(self, members: Sequence[Posting]) -> list[str]:
        kept, found = copy.deepcopy(self.__dict__), list[str]()
        # What no book could take fails the whole of it before anything is looked at.
        wrong = [any(leg.debit == leg.credit for leg in each.legs) for each in members]
        if any(wrong):
            return ["same_account" if bad else "group_failed" for bad in wrong]
        for place, each in enumerate(members):
            code = self.outcome(each, stores=False)
            if code not in {CREATED, EXISTING}:
                self.__dict__.update(kept)
                return ["group_failed" if n != place else code for n in range(len(members))]
            found.append(code)
        return found

    # --- What each kind does --------------------------------------------------------------------

    def _post(self, asked: Posting) -> str | None:
        """Do it, or return a code and leave the rest to the caller."""
        legs = self._legs(asked)
        if legs is None:
            return "not_found"
        code = self._names(asked, legs) or self._state(asked) or self._status(asked, legs)
        code = code or self._move(asked, legs)
        if code is None:
            self._keep(asked, legs)
        return code

    def _legs(self, asked: Posting) -> list[Moved] | None:
        """Its own legs, or those of what it resolves or reverses; None if that is not there."""
        if asked.hold_id is not None:
            placed = self.known.get(asked.hold_id)
            if placed is None or placed.kind != "hold" or placed.reason:
                return None
            hold = self.holds.get(asked.hold_id)
            ((debit, credit, amount),) = placed.legs
            return [(debit, credit, asked.amount_minor or (hold.remaining if hold else amount))]
        if asked.reverses is not None:
            target = self.known.get(asked.reverses)
            if target is None:
                return None
            return [(credit, debit, amount) for debit, credit, amount in target.legs]
        return [(leg.debit, leg.credit, leg.amount_minor) for leg in asked.legs]

    def _names(self, asked: Posting, legs: Iterable[Moved]) -> str | None:
        if any(code not in self.accounts for leg in legs for code in leg[:2]):
            return "account_not_found"
        if asked.reference is not None and asked.reference in self.references:
            return "duplicate_reference"
        if any(self.accounts[each.account].version != each.version for each in asked.expect):
            return "expectation_failed"
        return None

    def _state(self, asked: Posting) -> str | None:
        hold = self.holds.get(asked.hold_id) if asked.hold_id else None
        if asked.hold_id is not None and hold is None:
            return "hold_resolved"
        if hold is not None and (asked.amount_minor or 0) > hold.remaining:
            return "capture_exceeds_hold"
        if asked.reverses is not None:
            target = self.known[asked.reverses]
            if target.reason or target.kind not in REVERSIBLE:
                return "not_reversible"
            if target.reversed:
                return "already_reversed"
        return None

    def _status(self, asked: Posting, legs: Iterable[Moved]) -> str | None:
        for leg in legs:
            for code in leg[:2]:
                status = self.accounts[code].status
                if status != "open" and not (status == "frozen" and asked.kind == "void"):
                    return f"account_{status}"
        return None

    def _move(self, asked: Posting, legs: Sequence[Moved]) -> str | None:
        before = copy.deepcopy(self.accounts)
        for debit, credit, amount in legs:
            posted, pending = self._effect(asked, amount)
            self.accounts[debit].enter("debits", posted, pending)
            self.accounts[credit].enter("credits", posted, pending)
            self._take_off(asked, -pending)
        touched = dict.fromkeys(code for leg in legs for code in leg[:2])
        broken = (self.accounts[code].broken_by(before[code]) for code in touched)
        return next(filter(None, broken), None)

    def _effect(self, asked: Posting, amount: int) -> tuple[int, int]:
        """What a leg posts, and what it adds to what is pending."""
        if asked.kind == "hold":
            return 0, amount
        if asked.kind == "void":
            return 0, -amount
        if asked.hold_id is not None:
            remaining = self.holds[asked.hold_id].remaining
            return amount, -(amount if asked.final is False else remaining)
        return amount, 0

    def _take_off(self, asked: Posting, released: int) -> None:
        """A hold of which nothing remains is gone."""
        if asked.hold_id is not None:
            hold = self.holds[asked.hold_id]
            hold.remaining -= released
            if hold.remaining == 0:
                del self.holds[asked.hold_id]

    def _keep(self, asked: Posting, legs: list[Moved]) -> None:
        """Remember what was done."""
        assert asked.id
        self.known[asked.id] = Known(asked.request_hash, asked.kind, legs)
        if asked.reference is not None:
            self.references.add(asked.reference)
        if asked.reverses is not None:
            self.known[asked.reverses].reversed = True
        if asked.kind == "hold":
            ((debit, credit, amount),) = legs
            self.holds[asked.id] = Hold(debit, credit, amount)


def _parties(asked: Sequence[Posting], *, is_whole: bool) -> list[list[Posting]]:
    parties: list[list[Posting]] = []
    for each in asked:
        joins = parties and (is_whole or (each.group and parties[-1][0].group == each.group))
        if joins:
            parties[-1].append(each)
        else:
            parties.append([each])
    return parties
