"""What was found: a table for people, bench/results.json, and the table of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Figure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- make bench ARGS=--record writes from here -->", "<!-- to here -->"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `at_most`: a target is not to be exceeded, else to be reached."""

    id: str
    what: str
    figure: Figure | None
    target: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> str:
        """Say which of target and goal the median meets."""
        if self.figure is None or self.target is None:
            return ""
        for name, bound in (("goal", self.goal), ("target", self.target)):
            if bound is not None and (self.figure.median <= bound) is self.at_most:
                return name
        return "MISSED"

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's cells as text."""
        bounds = [f"{bound:g}" if bound is not None else "" for bound in (self.target, self.goal)]
        return (self.id, self.what, str(self.figure or "not measured"), *bounds, self.reached)


HEAD = ("id", "what", "median (min to max)", "target", "goal", "reached")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, its columns in line."""
    cells = [HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def facts(**settings: Any) -> dict[str, Any]:
    """Return when, where and with what this was measured."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "-s") else ""),
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib()} GiB",
        "python": platform.python_version(),
        **settings,
    }


def write(rows: Sequence[Row], known: dict[str, Any], *, record: bool) -> None:
    """Write bench/results.json and, if asked, the table of docs/performance.md."""
    found = [asdict(row) | {"median": row.figure and row.figure.median} for row in rows]
    RESULTS.write_text(json.dumps(known | {"rows": found}, indent=1) + "\n", encoding="utf-8")
    if record:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        said = "; ".join(f"{name} {value}" for name, value in known.items())
        new = f"{BEGIN}\n\n{said}.\n\n{table(rows)}\n\n{END}"
        PAGE.write_text(before + new + after, encoding="utf-8")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
