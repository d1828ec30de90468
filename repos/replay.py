"""What replay-ledger asks: passes that count what is wrong, and lists that name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistence.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn

# A list is read as far as findings are wanted; so many rows come in one round trip.
BATCH = 100
# What is read whole, to be compared here.
ROWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkRow:
    """Up to which moment the book cannot grow any more; how many leaves its tree has."""

    sealed_through: datetime | None
    tree_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRow:
    """Accounts from `first_id` to `last_id`, which have about so many entries."""

    first_id: int
    last_id: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SumRow:
    """A stripe that is not in order; or, without an account, the sums of all of one currency.

    `posted` and `pending` are credits less debits, in text since they may pass 2^63. `expected`
    and `found` are debits_posted, credits_posted, debits_pending, credits_pending, version and
    last_posted_at, by the entries and as stored; what is not stored is None.
    """

    account_id: int | None
    stripe: int | None
    code: str | None
    currency: str | None
    accounts: int
    stripes: int
    entries: int
    posted: str
    pending: str
    misplaced: int
    expected: list[str | None] | None
    found: list[str | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadersRow:
    """How many headers, sides of legs, and legs between two currencies."""

    headers: int
    sides: int
    mixed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesRow:
    """How many entries; those that no header has, and those that differ from theirs."""

    entries: int
    unexplained: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRow:
    """One thing that is wrong; None in `expected`: it should not be, in `found`: it is not."""

    account_id: int | None
    code: str | None
    currency: str | None
    stripe: int | None
    tx_id: UUID | None
    field: str
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Which accounts: all, or those with code_from <= code < code_to.

    Of their entries those until `as_of`, and after `since`, up to which all is trusted.
    """

    tenant_id: str
    everything: bool = True
    code_from: str = ""
    code_to: str = ""
    currency: str | None = None
    as_of: str = "infinity"
    since: str = "-infinity"

    @property
    def times(self) -> dict[str, Any]:
        """What says from when to when."""
        return {"as_of": self.as_of, "since": self.since}

    @property
    def accounts(self) -> dict[str, Any]:
        """What says which accounts."""
        return {
            "tenant_id": self.tenant_id,
            "everything": self.everything,
            "code_from": self.code_from,
            "code_to": self.code_to,
            "currency": self.currency,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRow:
    """What a transaction carries, and the SHA-256 that it should have."""

    id: UUID
    metadata: Any
    metadata_hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafTileRow:
    """Up to 256 leaves: `hashes` anew from their transactions, and as the full tile has them."""

    n: int
    leaves: int
    is_dense: bool
    hashes: bytes
    stored_hashes: bytes | None
    stored_root: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRow:
    """A leaf; its hash is None where its transaction is gone."""

    idx: int
    tx_id: UUID
    hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRow:
    """A checkpoint as it is stored."""

    tree_size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRow:
    """An account at a moment of the past, added up from its entries."""

    code: str
    currency: str
    posted: str
    pending_debits: str
    pending_credits: str
    version: int


GET_WATERMARK = statement("replay/get_watermark", WatermarkRow)
LIST_RANGES = statement("replay/list_ranges", RangeRow)
CHECK_RANGE = statement("replay/check_range", SumRow)
CHECK_RANGE_SINCE = statement("replay/check_range_since", SumRow)
CHECK_HEADERS = statement("replay/check_headers", HeadersRow)
CHECK_ENTRIES = statement("replay/check_entries", EntriesRow)
CHECK_LIMITS = statement("replay/check_limits", FaultRow)
LIST_MISPLACED = statement("replay/list_misplaced", FaultRow)
LIST_UNFIT_ENTRIES = statement("replay/list_unfit_entries", FaultRow)
LIST_MISSING_LEGS = statement("replay/list_missing_legs", FaultRow)
LIST_MIXED_LEGS = statement("replay/list_mixed_legs", FaultRow)
LIST_METADATA = statement("replay/list_metadata", MetadataRow)
LIST_WRONG_HOLDS = statement("replay/list_wrong_holds", FaultRow)
LIST_BALANCES = statement("replay/list_balances", BalanceRow)
LIST_LEAF_TILES = statement("replay/list_leaf_tiles", LeafTileRow)
LIST_LEAVES = statement("replay/list_leaves", LeafRow)
LIST_SEALS = statement("replay/list_seals", SealRow)
LIST_UNSEALED = statement("replay/list_unsealed", FaultRow)
LIST_PAYMENT_FAULTS = statement("replay/list_payment_faults", FaultRow)
LIST_PAYMENT_SUMS = statement("replay/list_payment_sums", FaultRow)
LIST_UNPOSTED = statement("replay/list_unposted", FaultRow)
COUNT_PAYMENTS = statement("replay/count_payments", int)
BEGIN_RUN = statement("replay/begin_run")
FINISH_RUN = statement("replay/finish_run")


def get_watermark(conn: Conn, *, tenant_id: str) -> WatermarkRow | None:
    """The tenant's watermark; None: no job has moved one yet."""
    return GET_WATERMARK.one_or_none(conn, tenant_id=tenant_id)


def list_ranges(conn: Conn, picked: Picked, *, entries_max: int) -> list[RangeRow]:
    """Ranges of accounts, by id; an account is never cut."""
    return LIST_RANGES.all(conn, **picked.accounts, entries_max=entries_max)


def check_range(conn: Conn, picked: Picked, *, first_id: int, last_id: int) -> list[SumRow]:
    """Walk the entries of a range; a row per currency, and one per stripe not in order."""
    return CHECK_RANGE.all(
        conn, **picked.accounts, as_of=picked.as_of, first_id=first_id, last_id=last_id
    )


def check_range_since(conn: Conn, picked: Picked, *, first_id: int, last_id: int) -> list[SumRow]:
    """As `check_range`, after a trusted moment; sums are balance, version and last_posted_at."""
    return CHECK_RANGE_SINCE.all(
        conn, **picked.accounts, **picked.times, first_id=first_id, last_id=last_id
    )


def check_headers(conn: Conn, picked: Picked) -> HeadersRow:
    """Count headers and what they say should be there."""
    return CHECK_HEADERS.one(conn, **picked.accounts, **picked.times)


def check_entries(conn: Conn, picked: Picked) -> EntriesRow:
    """Compare every entry of the book with its header."""
    return CHECK_ENTRIES.one(conn, tenant_id=picked.tenant_id, **picked.times)


def check_limits(conn: Conn, picked: Picked) -> Iterator[FaultRow]:
    """Balances against open holds, floors and ceilings."""
    return CHECK_LIMITS.stream(conn, BATCH, **picked.accounts)


def list_misplaced(
    conn: Conn, picked: Picked, *, account_id: int, stripe: int
) -> Iterator[FaultRow]:
    """Entries of a stripe that do not follow from the one before."""
    return LIST_MISPLACED.stream(
        conn,
        BATCH,
        tenant_id=picked.tenant_id,
        **picked.times,
        account_id=account_id,
        stripe=stripe,
    )


def list_unfit_entries(
    conn: Conn, picked: Picked, *, first_id: int, last_id: int
) -> Iterator[FaultRow]:
    """Entries of a range that are not as their header says."""
    return LIST_UNFIT_ENTRIES.stream(
        conn, BATCH, **picked.accounts, **picked.times, first_id=first_id, last_id=last_id
    )


def list_missing_legs(conn: Conn, picked: Picked) -> Iterator[FaultRow]:
    """Sides of legs that have no entry."""
    return LIST_MISSING_LEGS.stream(conn, BATCH, **picked.accounts, **picked.times)


def list_mixed_legs(conn: Conn, picked: Picked) -> Iterator[FaultRow]:
    """Legs whose accounts differ in currency."""
    return LIST_MIXED_LEGS.stream(conn, BATCH, tenant_id=picked.tenant_id, **picked.times)


def list_metadata(conn: Conn, picked: Picked) -> Iterator[MetadataRow]:
    """What transactions carry beside their legs."""
    return LIST_METADATA.stream(conn, ROWS, tenant_id=picked.tenant_id, **picked.times)


def list_wrong_holds(conn: Conn, picked: Picked) -> Iterator[FaultRow]:
    """Open holds that their transactions do not explain, or that are missing."""
    return LIST_WRONG_HOLDS.stream(conn, BATCH, **picked.accounts)


def list_balances(conn: Conn, picked: Picked, *, row_limit: int) -> list[BalanceRow]:
    """Balances at `as_of`, from the first entry on."""
    return LIST_BALANCES.all(conn, **picked.accounts, as_of=picked.as_of, row_limit=row_limit)


# --- Seals and payments -------------------------------------------------------------------------


def list_leaf_tiles(
    conn: Conn, *, tenant_id: str, first_idx: int, end_idx: int
) -> list[LeafTileRow]:
    """Tiles of leaves, a row each; places without a leaf are in none."""
    return LIST_LEAF_TILES.all(conn, tenant_id=tenant_id, first_idx=first_idx, end_idx=end_idx)


def list_leaves(conn: Conn, *, tenant_id: str, first_idx: int, end_idx: int) -> list[LeafRow]:
    """Leaves one by one."""
    return LIST_LEAVES.all(conn, tenant_id=tenant_id, first_idx=first_idx, end_idx=end_idx)


def list_seals(conn: Conn, *, tenant_id: str, at_least: int) -> Iterator[SealRow]:
    """Checkpoints by size."""
    return LIST_SEALS.stream(conn, ROWS, tenant_id=tenant_id, at_least=at_least)


def list_unsealed(conn: Conn, *, tenant_id: str) -> Iterator[FaultRow]:
    """Transactions at or below the watermark without a leaf."""
    return LIST_UNSEALED.stream(conn, BATCH, tenant_id=tenant_id)


def list_payment_faults(conn: Conn, *, tenant_id: str) -> Iterator[FaultRow]:
    """Steps of payments that are not posted as they should be, and postings without their step."""
    return LIST_PAYMENT_FAULTS.stream(conn, BATCH, tenant_id=tenant_id)


def list_payment_sums(conn: Conn, *, tenant_id: str) -> Iterator[FaultRow]:
    """Accounts that hold something else than the payments say."""
    return LIST_PAYMENT_SUMS.stream(conn, BATCH, tenant_id=tenant_id)


def list_unposted(conn: Conn, *, tenant_id: str) -> Iterator[FaultRow]:
    """Payments that wait for ledger-catch-up."""
    return LIST_UNPOSTED.stream(conn, BATCH, tenant_id=tenant_id)


def count_payments(conn: Conn, *, tenant_id: str) -> int:
    """How many payments there are."""
    return COUNT_PAYMENTS.one(conn, tenant_id=tenant_id)


# --- Audit --------------------------------------------------------------------------------------


def begin_run(
    conn: Conn,
    *,
    tenant_id: str,
    run_id: UUID,
    mode: str,
    levels: str,
    filter_: dict[str, Any],
    as_of: str,
    since_seal: str | None,
    actor: str,
    host: str,
    app_version: str,
) -> int:
    """Note the start of a run; `levels` with commas between."""
    return BEGIN_RUN.count(
        conn,
        tenant_id=tenant_id,
        run_id=run_id,
        mode=mode,
        levels=levels,
        filter=filter_,
        as_of=as_of,
        since_seal=since_seal,
        actor=actor,
        host=host,
        app_version=app_version,
    )


def finish_run(
    conn: Conn,
    *,
    tenant_id: str,
    run_id: UUID,
    accounts: int,
    transactions: int,
    entries: int,
    mismatches: int,
    changed: int,
    verdict: str,
    exit_code: int,
    findings: list[dict[str, Any]],
) -> int:
    """Note the end of a run and what it found."""
    return FINISH_RUN.count(
        conn,
        tenant_id=tenant_id,
        run_id=run_id,
        accounts=accounts,
        transactions=transactions,
        entries=entries,
        mismatches=mismatches,
        changed=changed,
        verdict=verdict,
        exit_code=exit_code,
        findings=findings,
    )
