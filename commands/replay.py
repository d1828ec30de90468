"""`flask replay-ledger`: whether the books are right, asked of every entry from the first on.

Exit codes (LR8): 0 clean; 2 usage; 3 only computed balances differ, or no such tenant or account;
4 not finished, nothing is known; 5 the book is damaged.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import CURRENCY, MOMENT, TENANT, Parsed, json_option
from commands.database import opened_database
from services.replay import LEVELS, Replay, ReplayAsk, RunBy
from version import VERSION

if TYPE_CHECKING:
    from services.replay_report import Finding, Report

SEGMENT = "[a-z0-9][a-z0-9._-]{0,62}"
NOT_FINISHED = 4
BAR_WIDTH = 30
DRAW_EVERY_S = 0.1


def _account(text: str) -> str:
    if not re.fullmatch(f"{SEGMENT}(:{SEGMENT}){{0,9}}:?", text):
        raise ValueError
    return text


ACCOUNT = Parsed("an account's code, or a prefix that ends with a colon", _account)


@click.command("replay-ledger")
@click.option("--level", "levels", multiple=True, type=click.Choice(LEVELS), help="Repeatable.")
@click.option("--tenant", "tenant_id", type=TENANT, metavar="ID", help="Only this tenant's book.")
@click.option(
    "--account",
    type=ACCOUNT,
    metavar="CODE|PREFIX:",
    help="Only this account, or all below a prefix (no L0).",
)
@click.option(
    "--currency", type=CURRENCY, metavar="EUR", help="Only accounts of this currency (no L0)."
)
@click.option(
    "--as-of", type=MOMENT, metavar="TIME", help="Only what was posted until then (no L3)."
)
@click.option(
    "--max-mismatches",
    "findings_max",
    type=click.IntRange(1, 100_000),
    metavar="N",
    default=100,
    show_default=True,
    help="Of each level and tenant: more are neither listed nor counted.",
)
@click.option("--progress/--no-progress", default=None, help="A bar on stderr.")
@json_option
def replay_ledger(*, progress: bool | None, as_json: bool, **asked: Any) -> None:
    """Check every book against its transactions; nothing but audit rows is written."""
    bar = Bar(shown=sys.stderr.isatty() if progress is None else progress)
    by = RunBy(actor=f"cli:{_user()}", host=socket.gethostname(), app_version=VERSION)
    with opened_database() as (_, db):
        try:
            report = Replay(db).run(ReplayAsk(**asked), by, bar.draw)
        except KeyboardInterrupt:
            click.echo("stopped: nothing is known", err=True)
            sys.exit(NOT_FINISHED)
        finally:
            bar.clear()
    if report.unrecorded:
        click.echo(f"not recorded: {report.unrecorded}", err=True)
    click.echo(json.dumps(report.data) if as_json else "\n".join(_lines(report)))
    sys.exit(report.exit_code)


class Bar:
    """A progress bar on stderr: what is done, how fast, how long it will take."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._began = self._drawn = 0.0
        self._what = ""
        self._width = 0

    def draw(self, what: str, done: int, total: int) -> None:
        """Draw it anew, but not more often than anyone can read."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began = what, now
        if not self._shown or (now - self._drawn < DRAW_EVERY_S and done < total):
            return
        self._drawn = now
        share = min(1.0, done / total) if total else 1.0
        filled = "#" * round(share * BAR_WIDTH)
        rate = done / max(now - self._began, 0.001)
        pace = f" {rate:,.0f}/s, {(total - done) / rate:.0f} s left" if done else ""
        self._write(f"{what} [{filled:<{BAR_WIDTH}}] {share:4.0%}{pace}")

    def clear(self) -> None:
        """Leave an empty line for what comes."""
        if self._width:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<{self._width}}\r{text}")
        sys.stderr.flush()
        self._width = len(text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user without a name: 3.11 or 3.13.
        return str(os.getuid())


def _lines(report: Report) -> list[str]:
    lines = []
    for tenant in report.tenants:
        checked = ", ".join(
            f"{level.level} {'ok' if level.is_ok else f'{level.mismatches} wrong'}"
            f" of {level.checked:,}"
            for level in tenant.levels.values()
        )
        lines.append(f"{tenant.tenant_id}: {tenant.verdict} ({checked})")
        lines += [_line(finding) for finding in tenant.findings]
    return lines


def _line(finding: Finding) -> str:
    data = finding.data
    where = [
        f"{name} {data[name]}"
        for name in ("account", "currency", "stripe", "tx_id")
        if data[name] is not None
    ]
    expected, found = ("nothing" if data[n] is None else data[n] for n in ("expected", "found"))
    return f"  {' '.join([finding.level, *where])}: {data['field']}: not {found} but {expected}"
