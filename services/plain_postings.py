"""Postings as columns: for a batch that is written in one go, if all of it can be posted.

Migration 0040 says what the columns hold. Arrays that are long go as the text PostgreSQL reads.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from services.posting_requests import Places, json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from services.posting_requests import Posting

Named = tuple["Posting", "UUID"]
PLAIN_KINDS = frozenset({"post", "adjust"})


def are_plain(named: Sequence[Named]) -> bool:
    """Tell whether these stand on balances alone, and none on another one of them."""
    ids = {tx_id for _, tx_id in named}
    references = [posting.reference for posting, _ in named if posting.reference is not None]
    return (
        len(ids) == len(named)
        and len(set(references)) == len(references)
        and all(
            posting.kind in PLAIN_KINDS and posting.effective_at is None and not posting.expect
            for posting, _ in named
        )
    )


def columns_of(named: Sequence[Named]) -> dict[str, Any]:
    """Return plain postings, each with the id that it gets, as columns."""
    places = Places()
    postings = [posting for posting, _ in named]
    legs = [leg for posting in postings for leg in posting.legs]
    last_legs = list(accumulate(len(posting.legs) for posting in postings))
    debits = [places(leg.debit, leg.currency) for leg in legs]
    credits_ = [places(leg.credit, leg.currency) for leg in legs]
    return {
        "codes": [code for code, _ in places.accounts],
        "currencies": [currency for _, currency in places.accounts],
        "ids": _array(tx_id for _, tx_id in named),
        "kinds": _array(posting.kind for posting in postings),
        "hashes": b"".join([posting.request_hash for posting in postings]),
        "refs": [posting.reference for posting in postings],
        "metadata": [json_text(each.metadata) if each.metadata else None for each in postings],
        "metadata_hashes": [posting.metadata_hash for posting in postings],
        "first_legs": _array(last + 1 for last in [0, *last_legs[:-1]]),
        "last_legs": _array(last_legs),
        "items": _array(item for item, each in enumerate(postings, 1) for _ in each.legs),
        "debits": _array(debits),
        "credits": _array(credits_),
        "amounts": _array(leg.amount_minor for leg in legs),
    }


def _array(values: Iterable[object]) -> str:
    """Write an array of what needs no quotes."""
    return "{" + ",".join(map(str, values)) + "}"
