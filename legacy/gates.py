"""The gates of each move (2.2): what must hold, and what a refusal says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from legacy.links import Link
    from legacy.rows.phases import FactsRow
    from legacy.settings import LegacySettings

BACKLOG_MAX, LAG_MAX_S = 1_000, 5
# These may be waived, with a reason that is audited (D9). Marks never.
WAIVABLE = frozenset({"shadow", "soak", "rejects"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition of a move: whether it holds, and the numbers that say so."""

    name: str
    ok: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return it as moves keep it and the API shows it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What gates are judged by. `flag`: FEATURE_DUAL_WRITE_*; `schema`: what is wrong with it."""

    domain: str
    facts: FactsRow
    link: Link
    settings: LegacySettings
    flag: bool
    schema: str | None
    writers_stopped: bool = False


def gates_of(move: tuple[int, int], look: Look) -> list[Gate]:
    """Return the gates of a move that are judged before writers are kept waiting."""
    return [*_order(move, look), *_GATES.get(move, lambda _: iter(()))(look)]


def _order(move: tuple[int, int], look: Look) -> Iterator[Gate]:
    """phase(users) >= phase(payments), forward and back."""
    to, other = move[1], look.facts.other_phase
    if look.domain == "payments" and to > move[0]:
        # Users that were never attached, or are finished, live here for good.
        ok = other is None or other >= to
        yield Gate(name="users_first", ok=ok, detail=f"users are in phase {other}")
    if look.domain == "users" and to < move[0]:
        ok = other is None or other <= to
        yield Gate(name="payments_first", ok=ok, detail=f"payments are in phase {other}")


def _to_dual_write(look: Look) -> Iterator[Gate]:
    flag = f"FEATURE_DUAL_WRITE_{look.domain.upper()}"
    yield Gate(name="flag", ok=look.flag, detail=f"{flag} is {str(look.flag).lower()}")
    yield Gate(name="schema", ok=look.schema is None, detail=look.schema or "as it should be")
    enabled = look.facts.triggers_are_enabled
    yield Gate(name="triggers", ok=enabled, detail="enabled" if enabled else "disabled")
    capture = look.link.store.capabilities.capture
    needs = look.link.has_program
    yield Gate(name="capture", ok=not needs or capture is not None, detail=f"capture is {capture}")


def _to_verifying(look: Look) -> Iterator[Gate]:
    facts = look.facts
    done = f"{facts.backfill_rows} rows, {'finished' if facts.backfill_is_done else 'under way'}"
    yield Gate(name="backfill", ok=facts.backfill_is_done, detail=done)
    yield Gate(name="rejects", ok=facts.rejects == 0, detail=f"{facts.rejects} open")
    late = f"{facts.backlog} keys, the oldest {facts.lag_s} s"
    ok = facts.backlog < BACKLOG_MAX and facts.lag_s < LAG_MAX_S
    yield Gate(name="backlog", ok=ok, detail=late)


def _digest(look: Look, max_age_s: int | None) -> Gate:
    facts = look.facts
    if facts.drift_is_clean is None or facts.drift_age_s is None:
        return Gate(name="digest", ok=False, detail="no run since this phase began")
    young = max_age_s is None or facts.drift_age_s <= max_age_s
    found = "clean" if facts.drift_is_clean else "drift"
    return Gate(
        name="digest",
        ok=facts.drift_is_clean and young,
        detail=f"{found}, {facts.drift_age_s} s ago",
    )


def _shadow(look: Look, least: int) -> Gate:
    facts = look.facts
    return Gate(
        name="shadow",
        ok=facts.mismatched == 0 and facts.compared >= least,
        detail=f"{facts.mismatched} of {facts.compared} reads differed, {least} are wanted",
    )


def _to_new_reads(look: Look) -> Iterator[Gate]:
    yield _digest(look, look.settings.verify_max_age_s)
    yield _shadow(look, look.settings.shadow_min_reads)
    if look.link.has_program:
        can = look.link.store.capabilities.fence
        said = "the store refuses it" if can else "the operator says so"
        ok = can or look.writers_stopped
        yield Gate(name="fence", ok=ok, detail=said if ok else "--legacy-writers-stopped is needed")


def _to_new_only(look: Look) -> Iterator[Gate]:
    in_phase, wanted = look.facts.in_phase_s, look.settings.soak_s
    yield Gate(name="soak", ok=in_phase >= wanted, detail=f"{in_phase} of {wanted} s in phase 4")
    yield _digest(look, None)
    yield _shadow(look, 0)


_GATES = {
    (1, 2): _to_dual_write,
    (2, 3): _to_verifying,
    (3, 4): _to_new_reads,
    (3, 5): _to_new_reads,
    (4, 5): _to_new_only,
}
# Judged with writers waiting.
LOCKED = {
    (3, 4): ("intents", "fence", "marks", "compared"),
    (3, 5): ("intents", "fence", "marks", "compared"),
    (4, 5): ("marks",),
    (3, 2): ("intents",),
    (2, 1): ("intents",),
    (4, 3): ("marks",),
}
