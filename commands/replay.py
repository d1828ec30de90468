"""`flask replay-ledger`: whether the books are right, asked of every entry from the first on.

Exit codes (LR8): 0 clean, or clean after a change; 2 usage; 3 only computed balances differ, or a
change was refused, or no such tenant, account or checkpoint; 4 not finished, nothing is known; 5
the book is damaged; 6 only payments differ.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import CURRENCY, MOMENT, TENANT, Parsed, json_option
from commands.database import opened_database
from services.checkpoint_copies import Copies
from services.checkpoints import SealKeys
from services.replay import LEVELS, Replay, ReplayAsk, RunBy, Trust
from version import VERSION

if TYPE_CHECKING:
    from config import Config
    from services.replay_report import Finding, Report

SEGMENT = "[a-z0-9][a-z0-9._-]{0,62}"
NOT_FINISHED = 4
BAR_WIDTH = 30
DRAW_EVERY_S = 0.1


def _account(text: str) -> str:
    if not re.fullmatch(f"{SEGMENT}(:{SEGMENT}){{0,9}}:?", text):
        raise ValueError
    return text


def _seal(text: str) -> int | str:
    if text != "last" and not re.fullmatch("[1-9][0-9]{0,17}", text):
        raise ValueError
    return text if text == "last" else int(text)


SEAL = Parsed("the size of a checkpoint, or last", _seal)
ACCOUNT = Parsed("an account's code, or a prefix that ends with a colon", _account)


@click.command("replay-ledger")
@click.option("--level", "levels", multiple=True, type=click.Choice(LEVELS), help="Repeatable.")
@click.option("--tenant", "tenant_id", type=TENANT, metavar="ID", help="Only this tenant's book.")
@click.option(
    "--account",
    type=ACCOUNT,
    metavar="CODE|PREFIX:",
    help="Only this account, or all below a prefix (L1 to L3).",
)
@click.option(
    "--currency", type=CURRENCY, metavar="EUR", help="Only accounts of this currency (L1 to L3)."
)
@click.option(
    "--as-of",
    type=MOMENT,
    metavar="TIME",
    help="Only what was posted until then (L0 to L2), and the balances of then.",
)
@click.option(
    "--since-seal",
    type=SEAL,
    metavar="SIZE|last",
    help="Verify this checkpoint, then believe what it covers.",
)
@click.option(
    "--checkpoint",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="A signed checkpoint that was kept elsewhere: the tree must continue it. Repeatable.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    metavar="N",
    help="Connections that read ranges of accounts.",
)
@click.option("--strict", is_flag=True, help="Payments that wait for ledger-catch-up are faults.")
@click.option(
    "--fix", "modes", flag_value="fix", multiple=True, help="Set wrong balances and holds."
)
@click.option(
    "--rebuild", "modes", flag_value="rebuild", multiple=True, help="Also make lost ones anew."
)
@click.option(
    "--repair",
    "modes",
    flag_value="repair",
    multiple=True,
    help="Also make entries anew from sealed transactions (as the owner).",
)
@click.option("--yes", is_flag=True, help="Change without asking.")
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
def replay_ledger(
    *,
    progress: bool | None,
    as_json: bool,
    files: tuple[Path, ...],
    modes: tuple[str, ...],
    yes: bool,
    **asked: Any,
) -> None:
    """Check every book against its transactions; only audit rows are written, or what is asked."""
    change = _confirmed(modes, yes=yes)
    bar = Bar(shown=sys.stderr.isatty() if progress is None else progress)
    by = RunBy(actor=f"cli:{_user()}", host=socket.gethostname(), app_version=VERSION)
    notes = tuple(path.read_text("utf-8", errors="replace") for path in files)
    ask = ReplayAsk(checkpoints=notes, change=change, **asked)
    with opened_database(as_owner=change == "repair") as (config, db):
        try:
            report = Replay(db, trust=make_trust(config)).run(ask, by, bar.draw)
        except KeyboardInterrupt:
            click.echo("stopped: nothing is known", err=True)
            sys.exit(NOT_FINISHED)
        finally:
            bar.clear()
    if report.unrecorded:
        click.echo(f"not recorded: {report.unrecorded}", err=True)
    click.echo(json.dumps(report.data) if as_json else "\n".join(_lines(report)))
    sys.exit(report.exit_code)


def make_trust(config: Config) -> Trust:
    """Return whose checkpoints this installation believes."""
    keys = SealKeys(
        origin=config.ledger_origin, seeds=config.seal_seeds, former=config.seal_former_keys
    )
    return Trust(keys=keys, copies=Copies(config.ledger_checkpoint_dir))


def _confirmed(modes: tuple[str, ...], *, yes: bool) -> str | None:
    """Return which change is meant, if any."""
    if len(set(modes)) > 1:
        raise click.UsageError("Give one of --fix, --rebuild, --repair.")
    if not modes:
        return None
    if not yes and modes[0] == "repair":
        raise click.UsageError("--repair deletes and writes entries: add --yes.")
    if not yes:
        click.confirm("Change what differs?", abort=True, err=True)
    return modes[0]


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
        lines += [f"  {said}" for said in (tenant.error, tenant.refusal) if said]
        lines += [_line(finding) for finding in tenant.findings]
        lines += [
            f"  {row.code} {row.currency}: posted {row.posted}, version {row.version}"
            for row in tenant.balances
        ]
    return lines


def _line(finding: Finding) -> str:
    data = finding.data
    where = [
        f"{name} {data[name]}"
        for name in ("account", "currency", "stripe", "tx_id")
        if data[name] is not None
    ]
    expected, found = ("nothing" if data[n] is None else data[n] for n in ("expected", "found"))
    done = f" ({data['action']})" if data["action"] else ""
    said = f"{data['field']}: not {found} but {expected}{done}"
    return f"  {' '.join([finding.level, *where])}: {said}"
