"""Rounds, alternation and figures: every ratio is of neighbouring rounds of the same run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One round of one contender. Latencies are in milliseconds, None where nobody timed them."""

    per_s: float
    requests: int
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its extremes, over rounds."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Figure | None:
        """Return the figure of `values`, None if none of them was measured."""
        known = tuple(value for value in values if value is not None)
        return cls(known) if known else None

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{_shown(self.median)} ({_shown(low)} to {_shown(high)})"


Rounds = dict[str, list[Sample]]


def alternate(contenders: Mapping[str, Callable[[], Sample]], rounds: int) -> Rounds:
    """Let the contenders run in turn, A B A B, so that a slow minute meets all of them."""
    found: Rounds = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, run in contenders.items():
            sample = run()
            found[name].append(sample)
            print(f"  round {number}: {name}: {_line(sample)}", flush=True)
    return found


def ratio(above: Sequence[float | None], below: Sequence[float | None]) -> Figure | None:
    """Return the figure of the quotients round by round."""
    pairs = zip(above, below, strict=False)
    return Figure.of([a / b for a, b in pairs if a is not None and b is not None])


def _line(sample: Sample) -> str:
    text = f"{sample.per_s:,.0f}/s"
    if sample.p99_ms is not None:
        text += f", p50 {sample.p50_ms:.1f} ms, p99 {sample.p99_ms:.1f} ms"
    return text + (f", {sample.errors} ERRORS" if sample.errors else "")


def _shown(value: float) -> str:
    """Write three digits that count: 1,843, 24.1, 1.63."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004
