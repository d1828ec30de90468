"""The rule of the watermark, without a server (LT4 to LT7); test_seals.py has it with one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from repos.seals import ClaimedRow, TickRow
from services.watermark import STEP_BACK, advance, behind, moment_text

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def state(
    *, at: datetime | None = NOON, xid: str | None = "100", mark: datetime | None = NOON - SECOND
) -> ClaimedRow:
    return ClaimedRow(
        sealed_through=mark,
        tree_size=0,
        tick_at=at,
        tick_xid=xid,
        tick_node="here",
        stopped_reason=None,
    )


def tick(oldest: str, *, at: datetime = NOON + SECOND, node: str = "here") -> TickRow:
    return TickRow(tick_at=at, tick_xid="200", oldest_xid=oldest, node=node)


@pytest.mark.parametrize(
    ("oldest", "mark", "is_over"),
    [
        ("99", NOON - SECOND, False),
        ("100", NOON - SECOND, False),
        ("101", NOON, True),
        ("9999999999", NOON, True),
    ],
)
def test_a_tick_counts_when_its_id_is_older_than_all_that_run(
    oldest: str, mark: datetime, is_over: bool
) -> None:
    """LT4: strictly older; ids are numbers of 64 bits, not texts."""
    assert advance(state(), tick(oldest)) == (mark, is_over)


def test_a_first_tick_moves_nothing() -> None:
    """LT4: it is kept, and counts later."""
    assert advance(state(at=None, xid=None, mark=None), tick("500")) == (None, True)
    assert advance(state(mark=None), tick("500")) == (NOON, True)


def test_a_tick_of_another_server_is_dropped() -> None:
    """LT7."""
    assert advance(state(), tick("500", node="there")) == (NOON - SECOND, True)


def test_a_clock_that_was_set_back_moves_nothing_back() -> None:
    """LT5."""
    ahead = NOON + timedelta(hours=1)
    assert advance(state(mark=ahead), tick("500")) == (ahead, True)


def test_rows_behind_are_looked_for_as_far_as_nobody_has_looked() -> None:
    """LT6: and as far back as the clock has gone."""
    assert behind(state(mark=None), tick("1")) is None
    assert behind(state(mark=NOON), tick("1")) == NOON - SECOND - STEP_BACK
    minutes = tick("1", at=NOON + 60 * SECOND)
    assert behind(state(mark=NOON), minutes) == NOON - 60 * SECOND - STEP_BACK
    back = NOON - timedelta(hours=1)
    assert behind(state(mark=NOON), tick("1", at=back)) == back - STEP_BACK
    assert behind(state(at=None, mark=NOON), tick("1")) == NOON - STEP_BACK


def test_before_all_is_a_moment_too() -> None:
    assert moment_text(None) == "-infinity"
    assert moment_text(NOON) == "2026-01-01T12:00:00+00:00"
