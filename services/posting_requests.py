"""What is asked of the ledger: postings as they come in, and the request that the database decides.

The form of the request is described in migration 0036.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

# What does not tell two requests apart: the id they are stored under, how the answer is to be
# given, and who stands or falls with it (LP7).
NOT_HASHED = frozenset({"id", "receipt", "dry_run", "group"})
# Names are ASCII and integers small, as the models have seen to: so this is the text of
# canonical_json, written in C. A test compares the two.
canonical_text = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True
).encode
json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Leg(Protocol):
    """One movement of money from the debited to the credited account."""

    @property
    def debit(self) -> str: ...
    @property
    def credit(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def currency(self) -> str: ...


class Expectation(Protocol):
    """Which version an account's balance is to have."""

    @property
    def account(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def version(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One thing asked of the ledger; `document` is the request as the client has sent it.

    With `id` None it runs under an idempotency key, or is a dry run. `amount_minor` and `final` are
    of captures, `expires_in_s` of holds, `group` of batches.
    """

    kind: str
    document: Mapping[str, Any]
    id: UUID | None = None
    legs: Sequence[Leg] = ()
    reference: str | None = None
    effective_at: datetime | None = None
    metadata: Mapping[str, str] | None = None
    expect: Sequence[Expectation] = ()
    hold_id: UUID | None = None
    reverses: UUID | None = None
    amount_minor: int | None = None
    final: bool | None = None
    expires_in_s: int | None = None
    group: str | None = None

    @property
    def request_hash(self) -> bytes:
        """SHA-256 of what was asked, in canonical JSON: the same id may ask the same only (LP7)."""
        asked = {name: self.document[name] for name in self.document if name not in NOT_HASHED}
        asked["kind"] = self.kind
        if self.hold_id is not None:
            asked["hold_id"] = str(self.hold_id)
        if self.reverses is not None:
            asked["reverses"] = str(self.reverses)
        return sha256(canonical_text(asked).encode()).digest()

    @property
    def metadata_hash(self) -> bytes | None:
        """SHA-256 of the metadata in canonical JSON; None without any."""
        if not self.metadata:
            return None
        return sha256(canonical_text(dict(self.metadata)).encode()).digest()


class Places:
    """Numbers accounts from 1 in the order in which they are named first."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def __call__(self, code: str, currency: str) -> int:
        """Return the account's number."""
        return self._numbers.setdefault((code, currency), len(self._numbers) + 1)

    @property
    def accounts(self) -> list[tuple[str, str]]:
        """All accounts in their order."""
        return list(self._numbers)


class Twins:
    """Finds what stood in an earlier item: its number, from 1."""

    def __init__(self) -> None:
        self._last: dict[Any, int] = {}

    def before(self, value: object, number: int) -> int | None:
        """Return which item had `value` last, and note that this one has it now."""
        if value is None:
            return None
        found = self._last.get(value)
        self._last[value] = number
        return found


def items_of(postings: Iterable[tuple[Posting, UUID]], places: Places) -> list[dict[str, Any]]:
    """Return postings, each with the id that it gets, as items; what is None is left out."""
    ids, references = Twins(), Twins()
    return [
        _item(
            posting,
            tx_id,
            places,
            twin=ids.before(tx_id, number),
            reference_twin=references.before(posting.reference, number),
        )
        for number, (posting, tx_id) in enumerate(postings, 1)
    ]


def _item(
    posting: Posting, tx_id: UUID, places: Places, *, twin: int | None, reference_twin: int | None
) -> dict[str, Any]:
    metadata_hash = posting.metadata_hash
    item: dict[str, Any] = {
        "id": str(tx_id),
        "kind": posting.kind,
        "stored": posting.id is not None or None,
        "hash": "\\x" + posting.request_hash.hex(),
        "reference": posting.reference,
        "effective_at": posting.effective_at and posting.effective_at.isoformat(),
        "metadata": posting.metadata or None,
        "metadata_hash": metadata_hash and "\\x" + metadata_hash.hex(),
        "hold_id": posting.hold_id and str(posting.hold_id),
        "reverses": posting.reverses and str(posting.reverses),
        "amount": posting.amount_minor,
        "final": posting.final,
        "expires_in_s": posting.expires_in_s,
        "twin": twin,
        "reference_twin": reference_twin,
    }
    if posting.legs:
        legs = posting.legs
        item["debits"] = [places(leg.debit, leg.currency) for leg in legs]
        item["credits"] = [places(leg.credit, leg.currency) for leg in legs]
        item["amounts"] = [leg.amount_minor for leg in legs]
    if posting.expect:
        item["expect"] = [
            [places(each.account, each.currency), each.version] for each in posting.expect
        ]
    return {name: value for name, value in item.items() if value is not None}
