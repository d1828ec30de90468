"""Every gate of every move refuses when it must, and no other with it (2.2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from legacy.gates import LOCKED, Look, gates_of
from legacy.links import Link
from legacy.rows.phases import FactsRow
from legacy.settings import LegacySettings
from legacy.store import Capabilities
from legacy.switching import fence_gates

MOVES = [(1, 2), (2, 3), (3, 4), (3, 5), (4, 5), (5, 4), (4, 3), (3, 2), (2, 1)]
FACTS = FactsRow(
    phase=3,
    other_phase=None,
    in_phase_s=90_000,
    backlog=999,
    lag_s=4,
    intents=0,
    rejects=0,
    backfill_is_done=True,
    backfill_finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    backfill_rows=10,
    triggers_are_enabled=True,
    has_rows=True,
    drift_is_clean=True,
    drift_age_s=3_600,
    compared=1_000,
    mismatched=0,
)
CLOSED: list[tuple[tuple[int, int], str, str, dict[str, Any]]] = [
    # Move, domain, the gate, and what closes it.
    ((1, 2), "payments", "users_first", {"other_phase": 1}),
    ((2, 3), "payments", "users_first", {"other_phase": 2}),
    ((3, 4), "payments", "users_first", {"other_phase": 3}),
    ((3, 5), "payments", "users_first", {"other_phase": 4}),
    ((4, 5), "payments", "users_first", {"other_phase": 4}),
    ((5, 4), "users", "payments_first", {"other_phase": 5}),
    ((4, 3), "users", "payments_first", {"other_phase": 4}),
    ((3, 2), "users", "payments_first", {"other_phase": 3}),
    ((2, 1), "users", "payments_first", {"other_phase": 2}),
    ((1, 2), "users", "flag", {"flag": False}),
    ((1, 2), "users", "schema", {"schema": "schema_pending"}),
    ((1, 2), "users", "triggers", {"triggers_are_enabled": False}),
    ((1, 2), "users", "capture", {"writers": "legacy", "capture": None}),
    ((2, 3), "users", "backfill", {"backfill_is_done": False}),
    ((2, 3), "users", "rejects", {"rejects": 1}),
    ((2, 3), "users", "backlog", {"backlog": 1_000}),
    ((2, 3), "users", "backlog", {"lag_s": 5}),
    *(
        ((3, to), "users", name, closes)
        for to in (4, 5)
        for name, closes in (
            ("digest", {"drift_is_clean": None}),
            ("digest", {"drift_is_clean": False}),
            ("digest", {"drift_age_s": 3_601}),
            ("shadow", {"mismatched": 1}),
            ("shadow", {"compared": 999}),
            ("fence", {"writers": "legacy", "fence": False}),
        )
    ),
    ((4, 5), "users", "soak", {"in_phase_s": 86_399}),
    ((4, 5), "users", "digest", {"drift_is_clean": False}),
    ((4, 5), "users", "shadow", {"mismatched": 1}),
]  # fmt: skip
OF_STORE = {"capture", "fence"}


def look(domain: str, **changes: Any) -> Look:
    """What a move is judged by when nothing is in its way, but for `changes`."""
    can: dict[str, Any] = {"capture": "trigger", "fence": True}
    can |= {name: changes.pop(name) for name in OF_STORE & changes.keys()}
    store: Any = SimpleNamespace(capabilities=Capabilities(writes=True, **can))
    link = Link(
        adapter="sqlite",
        store=store,
        columns=frozenset(),
        compare=store,
        writers=changes.pop("writers", "api"),
    )
    of_look: dict[str, Any] = {
        name: changes.pop(name) for name in ("flag", "schema") if name in changes
    }
    given: dict[str, Any] = {"flag": True, "schema": None, **of_look}
    facts = replace(FACTS, **changes)
    return Look(domain=domain, facts=facts, link=link, settings=LegacySettings(), **given)


def closed(move: tuple[int, int], seen: Look) -> list[str]:
    return [gate.name for gate in gates_of(move, seen) if not gate.ok]


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_nothing_is_in_the_way_of_who_is_done(move: tuple[int, int]) -> None:
    for domain in ("users", "payments"):
        for writers in ("api", "legacy"):
            assert closed(move, look(domain, writers=writers)) == []


@pytest.mark.parametrize(("move", "domain", "name", "changes"), CLOSED)
def test_a_gate_refuses_when_it_must(
    move: tuple[int, int], domain: str, name: str, changes: dict[str, Any]
) -> None:
    """2.2: it alone, with the numbers that say why."""
    seen = look(domain, **changes)
    assert closed(move, seen) == [name]
    (gate,) = [gate for gate in gates_of(move, seen) if not gate.ok]
    assert gate.detail


def test_every_gate_has_been_seen_closed() -> None:
    """The table above has all of them: who adds one adds what closes it."""
    shown = {
        (move, gate.name)
        for move in MOVES
        for domain in ("users", "payments")
        for gate in gates_of(move, look(domain, writers="legacy"))
    }
    assert shown == {(move, name) for move, _, name, _ in CLOSED}


def test_whoever_says_that_the_program_is_stopped_needs_no_fence() -> None:
    """D31."""
    seen = look("users", writers="legacy", fence=False)
    assert closed((3, 4), replace(seen, writers_stopped=True)) == []


def test_users_who_are_not_moved_keep_no_payment_back() -> None:
    assert closed((1, 2), look("payments", other_phase=None)) == []


# --- Judged while everybody waits ---------------------------------------------------------------


def test_what_is_judged_while_writers_wait() -> None:
    """2.2: the table of the page."""
    forward = ("intents", "fence", "marks", "compared")
    assert {
        (3, 4): forward,
        (3, 5): forward,
        (4, 5): ("marks",),
        (3, 2): ("intents",),
        (2, 1): ("intents",),
        (4, 3): ("marks",),
    } == LOCKED


@pytest.mark.parametrize(
    ("fenced_at", "queue", "expected"),
    [
        (FACTS.backfill_finished_at, [], set()),
        (None, [], {"fenced"}),
        (FACTS.backfill_finished_at, ["1"], {"captured"}),
    ],
)
def test_the_program_is_out_and_nothing_of_it_is_left(
    fenced_at: datetime | None, queue: list[str], expected: set[str]
) -> None:
    """D31: a fence that the mirror has lifted meanwhile, or an entry that came late, refuses."""
    store = SimpleNamespace(
        capabilities=Capabilities(writes=True, capture="trigger", fence=True),
        tail=lambda _: queue,
    )
    scope: Any = SimpleNamespace(
        link=SimpleNamespace(store=store), state=SimpleNamespace(fenced_at=fenced_at)
    )
    assert {gate.name for gate in fence_gates(scope) if not gate.ok} == expected
