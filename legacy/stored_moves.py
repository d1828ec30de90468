"""A step under an idempotency key: phase, move and answer commit together, or not at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from legacy import status
from legacy.rows import migration_intents, phases
from repos import idempotency as keys
from services.idempotency import Answer, replay
from services.payment_commands import GENERATED_KEY_TTL_S

if TYPE_CHECKING:
    from legacy.parts import Parts
    from legacy.phases import Ask
    from persistence.db import Conn
    from services.idempotency import Claim
    from services.rate_limits import RateLimits


class StoredMoves:
    """Takes steps once for each key."""

    def __init__(self, parts: Parts, limits: RateLimits, *, key_ttl_s: int) -> None:
        self._parts = parts
        self._limits = limits
        self._key_ttl_s = key_ttl_s

    def stored(self, claim: Claim) -> Answer | None:
        """Return the answer of this key; None: it is new. RateLimited, and problems of keys."""
        self._limits.charge(claim.quota)
        with self._parts.db.read() as conn:
            row = keys.get(conn, tenant_id=claim.tenant_id, scope=claim.scope, key=claim.key)
        return None if row is None else replay(claim, row)

    def move(self, claim: Claim, ask: Ask, from_phase: int, to_phase: int) -> Answer:
        """Take a step and keep its answer; as Phases.move."""
        kept: list[dict[str, Any]] = []
        self._parts.phases.move(ask, from_phase, to_phase, also=partial(self._keep, claim, kept))
        return Answer(status=200, data=kept[0], replayed=False)

    def _keep(
        self, claim: Claim, kept: list[dict[str, Any]], conn: Conn, domain: str, move_id: UUID
    ) -> None:
        newest = UUID(int=move_id.int + 1)
        (row,) = phases.list_moves(
            conn, tenant_id=claim.tenant_id, domain=domain, before_id=newest, row_limit=1
        )
        kept.append(status.move_json(row))
        key_row = {
            "scope": claim.scope,
            "key": claim.key,
            "operation": claim.operation,
            "fingerprint": claim.fingerprint.hex(),
            "fingerprint_version": claim.fingerprint_version,
            "status": 200,
            "answer": kept[0],
            "resource_type": "migration_move",
            "resource_id": str(move_id),
            "request_id": claim.request_id,
            "ttl_s": GENERATED_KEY_TTL_S if claim.generated else self._key_ttl_s,
        }
        migration_intents.keep_answer(conn, tenant_id=claim.tenant_id, key_row=key_row)
