"""What proves a book: its watermark, the leaves and tiles of its tree, signed checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from persistence.db import Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """How far a book is sealed: `sealed_through` is the watermark, None before there is one.

    `has_more`: there are transactions after it. `signed_size`: of the last checkpoint, 0 for none.
    """

    read_at: datetime
    sealed_through: datetime | None
    tree_size: int
    stopped_reason: str | None
    lag_s: int
    has_more: bool
    signed_size: int
    signed_ago_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRow:
    """The same under its lock, with the tick that the next move of the watermark waits for."""

    sealed_through: datetime | None
    tree_size: int
    tick_at: datetime | None
    tick_xid: str | None
    tick_node: str | None
    stopped_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRow:
    """A moment, a transaction id taken after it, and the oldest id that was still running."""

    tick_at: datetime
    tick_xid: str
    oldest_xid: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsealedRow:
    """A transaction that gets its leaf; `hash` is the leaf's."""

    id: UUID
    posted_at: datetime
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRow:
    """A signed checkpoint of the tree of the first `tree_size` leaves."""

    tree_size: int
    root: bytes
    sealed_through: datetime
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A public key of Ed25519, 32 bytes; `valid_until` None: it signs still."""

    public_key: bytes
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRow:
    """A transaction as canonical JSON; `idx` None: it is not sealed yet."""

    leaf: str
    idx: int | None


OPEN_STATE = statement("seals/open_state")
GET_STATE = statement("seals/get_state", StateRow)
READ_TICK = statement("seals/read_tick", TickRow)
CLAIM_STATE = statement("seals/claim_state", ClaimedRow)
COUNT_UNSEALED = statement("seals/count_unsealed")
LIST_UNSEALED = statement("seals/list_unsealed", UnsealedRow)
LIST_LATE = statement("seals/list_late", UnsealedRow)
LIST_LEAF_HASHES = statement("seals/list_leaf_hashes", bytes)
GET_TILE = statement("seals/get_tile", bytes)
LIST_TILE_ROOTS = statement("seals/list_tile_roots", bytes)
RECORD_LEAVES = statement("seals/record_leaves")
RECORD_TILES = statement("seals/record_tiles")
SET_STATE = statement("seals/set_state")
SET_STOPPED = statement("seals/set_stopped")
CREATE_SEAL = statement("seals/create_seal")
GET_SEAL = statement("seals/get_seal", SealRow)
REGISTER_KEYS = statement("seals/register_keys")
LIST_KEYS = statement("seals/list_keys", KeyRow)
LIST_SEALS = statement("seals/list_seals", SealRow)
GET_LEAF = statement("seals/get_leaf", LeafRow)
REDACT_METADATA = statement("seals/redact_metadata", bool)


# --- The watermark ------------------------------------------------------------------------------


def open_state(conn: Conn, *, tenant_id: str) -> int:
    """Make the tenant's row, if there is none."""
    return OPEN_STATE.count(conn, tenant_id=tenant_id)


def get_state(conn: Conn, *, tenant_id: str) -> StateRow | None:
    """How far the book is sealed; None: nobody has begun."""
    return GET_STATE.one_or_none(conn, tenant_id=tenant_id)


def read_tick(conn: Conn, *, tenant_id: str) -> TickRow:
    """The first statement of its transaction: clock, own transaction id, oldest running id."""
    return READ_TICK.one(conn, tenant_id=tenant_id)


def claim_state(conn: Conn, *, tenant_id: str) -> ClaimedRow | None:
    """Lock the tenant's row; None: another worker has it."""
    return CLAIM_STATE.one_or_none(conn, tenant_id=tenant_id)


def set_state(
    conn: Conn,
    *,
    tenant_id: str,
    sealed_through: str,
    tree_size: int,
    tick_at: str,
    tick_xid: str | None,
    tick_node: str,
) -> int:
    """Move watermark and size, and keep a tick; times in ISO 8601, `-infinity` for none."""
    return SET_STATE.count(
        conn,
        tenant_id=tenant_id,
        sealed_through=sealed_through,
        tree_size=tree_size,
        tick_at=tick_at,
        tick_xid=tick_xid,
        tick_node=tick_node,
    )


def set_stopped(conn: Conn, *, tenant_id: str, reason: str | None) -> int:
    """Note why nothing is signed, or None; returns 0 if that was known."""
    return SET_STOPPED.count(conn, tenant_id=tenant_id, reason=reason)


def count_unsealed(conn: Conn, *, tenant_id: str, row_limit: int) -> int:
    """How many transactions lie after the watermark, at most `row_limit`."""
    return int(COUNT_UNSEALED.one(conn, tenant_id=tenant_id, row_limit=row_limit))


# --- Leaves and tiles ---------------------------------------------------------------------------


def list_unsealed(
    conn: Conn, *, tenant_id: str, after_at: str, until_at: str, row_limit: int
) -> list[UnsealedRow]:
    """The next transactions in (after_at, until_at], whole moments, about `row_limit`."""
    return LIST_UNSEALED.all(
        conn, tenant_id=tenant_id, after_at=after_at, until_at=until_at, row_limit=row_limit
    )


def list_late(
    conn: Conn, *, tenant_id: str, after_at: str, until_at: str, row_limit: int
) -> list[UnsealedRow]:
    """Transactions in (after_at, until_at] that have no leaf."""
    return LIST_LATE.all(
        conn, tenant_id=tenant_id, after_at=after_at, until_at=until_at, row_limit=row_limit
    )


def list_leaf_hashes(conn: Conn, *, tenant_id: str, first_idx: int, end_idx: int) -> list[bytes]:
    """Hashes of the leaves from `first_idx` to before `end_idx`, from their transactions."""
    return LIST_LEAF_HASHES.all(conn, tenant_id=tenant_id, first_idx=first_idx, end_idx=end_idx)


def get_tile(conn: Conn, *, tenant_id: str, level: int, n: int) -> bytes | None:
    """The 256 hashes of a tile, one after another; None: it is not full."""
    return GET_TILE.one_or_none(conn, tenant_id=tenant_id, level=level, n=n)


def list_tile_roots(
    conn: Conn, *, tenant_id: str, level: int, first_n: int, end_n: int
) -> list[bytes]:
    """The hashes over the full tiles from `first_n` to before `end_n`."""
    return LIST_TILE_ROOTS.all(conn, tenant_id=tenant_id, level=level, first_n=first_n, end_n=end_n)


def record_leaves(
    conn: Conn, *, tenant_id: str, first_idx: int, tx_ids: list[UUID], late: bool
) -> int:
    """Give transactions the places from `first_idx` on."""
    return RECORD_LEAVES.count(
        conn, tenant_id=tenant_id, first_idx=first_idx, tx_ids=tx_ids, late=late
    )


def record_tiles(
    conn: Conn,
    *,
    tenant_id: str,
    levels: list[int],
    ns: list[int],
    hashes: list[bytes],
    roots: list[bytes],
) -> int:
    """Keep full tiles, a list for each of their columns."""
    return RECORD_TILES.count(
        conn, tenant_id=tenant_id, levels=levels, ns=ns, hashes=hashes, roots=roots
    )


# --- Checkpoints --------------------------------------------------------------------------------


def create_seal(
    conn: Conn, *, tenant_id: str, tree_size: int, root: bytes, sealed_through: str, note: str
) -> int:
    """Keep a signed checkpoint."""
    return CREATE_SEAL.count(
        conn,
        tenant_id=tenant_id,
        tree_size=tree_size,
        root=root,
        sealed_through=sealed_through,
        note=note,
    )


def get_seal(conn: Conn, *, tenant_id: str, at_most: int) -> SealRow | None:
    """The last checkpoint of at most so many leaves."""
    return GET_SEAL.one_or_none(conn, tenant_id=tenant_id, at_most=at_most)


def register_keys(conn: Conn, *, tenant_id: str, public_keys: list[bytes]) -> int:
    """Note the keys that sign from now on; others end now."""
    return REGISTER_KEYS.count(conn, tenant_id=tenant_id, public_keys=public_keys)


def list_keys(conn: Conn, *, tenant_id: str) -> list[KeyRow]:
    """Every key that has signed, oldest first."""
    return LIST_KEYS.all(conn, tenant_id=tenant_id)


def list_seals(conn: Conn, *, tenant_id: str, below: int, row_limit: int) -> list[SealRow]:
    """Checkpoints of fewer than `below` leaves, newest first."""
    return LIST_SEALS.all(conn, tenant_id=tenant_id, below=below, row_limit=row_limit)


def get_leaf(conn: Conn, *, tenant_id: str, tx_id: UUID, owner_id: str | None) -> LeafRow | None:
    """A transaction's leaf; with `owner_id` only if it touches an account of that user."""
    return GET_LEAF.one_or_none(conn, tenant_id=tenant_id, tx_id=tx_id, owner_id=owner_id)


def redact_metadata(
    conn: Conn, *, tenant_id: str, tx_id: UUID, audit_id: UUID, subject: str, reason: str
) -> bool | None:
    """Empty a transaction's metadata; False: it had none. None: there is no such transaction."""
    return REDACT_METADATA.one_or_none(
        conn,
        tenant_id=tenant_id,
        tx_id=tx_id,
        audit_id=audit_id,
        subject=subject,
        reason=reason,
    )
