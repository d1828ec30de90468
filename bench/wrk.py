"""Runs wrk and reads what it prints; the same for every contender, whatever its script says."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.measure import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAM = shutil.which("wrk")
MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class WrkError(Exception):
    """wrk did not do its round; the text is what it said."""


def run(
    url: str,
    *,
    seconds: int,
    connections: int,
    script: Path | None = None,
    arguments: Sequence[str] = (),
) -> Sample:
    """Load `url` from one thread, as the yardsticks do, and count every wrong answer."""
    if PROGRAM is None:
        raise WrkError("wrk is not installed")
    command = [PROGRAM, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout=10s"]
    command += ["-s", str(script)] if script else []
    done = subprocess.run(
        [*command, url, *(["--", *arguments] if arguments else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WrkError(f"{done.stderr}{done.stdout}"[-2_000:])
    for line in re.findall(r"^wrong: .{,300}|Socket errors: .+", done.stdout, re.MULTILINE)[:3]:
        print(f"    {line}", flush=True)
    return read(done.stdout)


def read(text: str) -> Sample:
    """Read wrk's report. A line of a script that met a wrong answer is an error too."""
    return Sample(
        per_s=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        requests=int(_found(r"(\d+) requests in ", text)),
        errors=_errors(text),
        p50_ms=_latency("50%", text),
        p99_ms=_latency("99%", text),
        max_ms=_longest(text),
    )


def _errors(text: str) -> int:
    """Count what was not answered with 2xx, or what the script did not expect, if that is more."""
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.+)", text)
    lost = map(int, re.findall(r"\d+", broken[1])) if broken else ()
    wrong = len(re.findall(r"^wrong: ", text, re.MULTILINE))
    return max(int(refused[1]) if refused else 0, wrong) + sum(lost)


def _latency(share: str, text: str) -> float:
    # wrk pads a unit of one letter: "99%    1.25s ".
    number, unit = re.findall(rf"^\s+{share}\s+([\d.]+)(us|ms|s|m) ?$", text, re.MULTILINE)[0]
    return float(number) * MS[unit]


def _longest(text: str) -> float:
    """Read the third number of the line `Latency  avg  stdev  max  +/-`."""
    number, unit = re.findall(
        r"^\s+Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)\s", text, re.MULTILINE
    )[0]
    return float(number) * MS[unit]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise WrkError(f"wrk said nothing of {pattern!r}: {text[-2_000:]}")
    return match[1]
