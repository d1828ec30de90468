"""`make bench`: B1 to B8, B11, B13 of docs/performance.md, as one table; B9, B10 by name."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from bench import (
    batches,
    depth,
    disturbed,
    growth,
    log_in,
    log_in_times,
    moving,  # legacy
    over_http,
    postings,
    proof,
    replays,
    report,
    start_up,
)
from bench.processes import BenchError
from bench.report import ROOT, Row
from bench.stage import Stage
from persistence.embedded import EmbeddedError

ALL: tuple[str, ...] = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B11", "B13")
ALL += ("B12",)  # legacy
# Ten million payments take a while to store, and 15 GB; a million requests take half an hour.
BY_NAME = ("B9", "B10")
BESIDE = ROOT.parent / "shared" / "yardsticks"


def main() -> int:
    """Run what was asked for; exit 0, or 4 if something could not be measured."""
    options = _options()
    lacking, yardsticks = _lacking(options.yardsticks)
    rows: list[Row] = []
    for sentence in lacking:
        print(f"bench: {sentence}", file=sys.stderr)
    try:
        if "B11" in options.only:
            print("B11: make run", flush=True)
            rows += start_up.starts(options.rounds)
        if shutil.which("wrk") and {"B1", "B2", "B3"} & set(options.only):
            rows = _on_stage(options, yardsticks) + rows
        if shutil.which("wrk") and "B9" in options.only:
            rows += _grown(options)
        if shutil.which("wrk") and {"B7", "B10"} & set(options.only):
            rows += _disturbed(options)
        if {"B4", "B5", "B6", "B13"} & set(options.only):
            rows += _of_the_ledger(options)
        if "B8" in options.only:
            rows += _of_people(options)
        if "B12" in options.only:  # legacy
            rows += moving.rows(options.rounds, options.moved)  # legacy
    except (BenchError, EmbeddedError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 4
    known = report.facts(
        postgresql="18 from the wheel, fsync and synchronous_commit on",
        connections=over_http.CONNECTIONS,
        rounds=f"{options.rounds} of {options.seconds} s, in turn",
    )
    print("\n" + report.table(rows))
    report.write(rows, known, record=options.record)
    return 4 if lacking else 0


def _on_stage(options: argparse.Namespace, yardsticks: Path | None) -> list[Row]:
    rows: list[Row] = []
    with Stage() as stage:
        if {"B1", "B3"} & set(options.only):
            print("B1, B3: create and capture", flush=True)
            rows += over_http.payments(stage, yardsticks, options.rounds, options.seconds)
        if "B2" in options.only:
            print("B2: read one payment", flush=True)
            rows += over_http.reads(stage, yardsticks, options.rounds, options.seconds)
        print(f"money: {proof.prove(stage)}", flush=True)
    return rows


def _grown(options: argparse.Namespace) -> list[Row]:
    """Measure B9 on a stage of its own: the others' is not to be full."""
    with Stage() as stage:
        print("B9: few and many payments stored", flush=True)
        rows = growth.stored(stage, options.rounds, options.seconds, options.payments)
        print(f"money: {proof.prove(stage)}", flush=True)
    return rows


def _disturbed(options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with Stage() as stage:
        if "B7" in options.only:
            print("B7: Redis up, absent, killed, hung", flush=True)
            rows += disturbed.redis_rounds(stage, options.rounds, options.seconds)
        if "B10" in options.only:
            print(f"B10: {options.requests:,} requests", flush=True)
            rows += disturbed.memory(stage, options.requests)
        print(f"money: {proof.prove(stage)}", flush=True)
    return rows


def _of_the_ledger(options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with Stage() as stage:
        if "B4" in options.only:
            print("B4: transfers in SQL", flush=True)
            rows += postings.transfers(stage, options.pgledger, options.rounds, options.seconds)
        if "B5" in options.only:
            print("B5: batches over HTTP", flush=True)
            rows += batches.batches(stage, options.rounds)
        if "B13" in options.only:
            print("B13: accounts with few and many entries", flush=True)
            rows += depth.depths(stage, options.rounds, options.depth)
        if "B6" in options.only:
            print(f"B6: replay of {options.entries:,} entries, and of twice as many", flush=True)
            rows += replays.replays(stage, options.entries)
    return rows


def _of_people(options: argparse.Namespace) -> list[Row]:
    with Stage() as stage:
        print("B8: log-ins", flush=True)
        # Before the service starts: then it reads which kinds of hashes there are.
        log_in.prepare(stage)
        log_in_times.prepare(stage)
        rows = log_in_times.times(stage)
        rows += log_in.log_ins(stage, options.rounds, options.seconds)
        print(f"money: {proof.prove(stage)}", flush=True)
    return rows


def _lacking(yardsticks: Path) -> tuple[list[str], Path | None]:
    """Say what cannot be measured for want of a program; return the yardsticks if they can run."""
    said = []
    if not shutil.which("wrk"):
        said.append(
            "B1, B2, B3, B7, B9 and B10 need wrk, which is missing (Debian: apt install wrk)."
        )
    if not (yardsticks / "peer-kysely").is_dir():
        said.append(f"No yardsticks in {yardsticks}: name them by --yardsticks, else no ratios.")
    elif not (shutil.which("node") and shutil.which("npm")):
        said.append("The peer of B1 needs node 20 and npm, which are not installed: no ratios.")
    else:
        return said, yardsticks
    return said, None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*ALL, *BY_NAME, []], metavar="B1, B2 ...")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of B10")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6, help="of each round")
    parser.add_argument("--payments", type=int, default=10_000_000, help="stored for B9")
    parser.add_argument(
        "--yardsticks", type=Path, default=Path(os.environ.get("YARDSTICKS") or BESIDE)
    )
    parser.add_argument(
        "--pgledger",
        type=Path,
        default=Path(os.environ["PGLEDGER"]) if "PGLEDGER" in os.environ else None,
        help="a checkout of pgr0ss/pgledger, which B4 is measured against",
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the book of B6")
    parser.add_argument("--depth", type=int, default=1_000_000, help="most entries of B13")
    parser.add_argument("--moved", type=int, default=1_000_000, help="rows of B12")  # legacy
    parser.add_argument("--record", action="store_true", help="write docs/performance.md too")
    found = parser.parse_args()
    found.only = found.only or list(ALL)
    return found


if __name__ == "__main__":
    sys.exit(main())
