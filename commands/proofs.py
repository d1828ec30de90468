"""`flask verify-proof`: whether what the service has signed holds; it needs no database (LM10).

Exit codes: 0 good; 2 usage, or what was given does not suffice; 3 false; 4 unreadable.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import json_option
from services.export_lines import ExportLines
from services.proof_checks import (
    ProofCheck,
    ProofFalse,
    ProofMissing,
    ProofUnreadable,
    read_keys,
)

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE, FALSE, UNREADABLE = 2, 3, 4
CODES = {ProofMissing: USAGE, ProofFalse: FALSE, ProofUnreadable: UNREADABLE}
# The end of an export is one line; its note is some hundred bytes.
END_BYTES = 65_536
FILE = click.Path(path_type=Path)


@click.command("verify-proof")
@click.option("--key", type=FILE, required=True, help="Public keys, or the answer of .../keys.")
@click.option("--checkpoint", type=FILE, help="A signed checkpoint.")
@click.option("--previous", type=FILE, help="An earlier one that it must continue.")
@click.option("--receipt", type=FILE, help="A signed receipt of a transaction.")
@click.option(
    "--proof", "proofs", type=FILE, multiple=True, help="Answers of .../proof and .../consistency."
)
@click.option("--export", type=FILE, help="A whole export of transactions (NDJSON).")
@json_option
def verify_proof(*, as_json: bool, key: Path, **files: Any) -> None:
    """Check checkpoints, receipts, proofs and exports with nothing but a public key."""
    if not any(files.values()):
        raise click.UsageError("Give at least one of --checkpoint, --receipt, --proof, --export.")
    shown: list[str] = []
    code, reason = 0, None
    try:
        _check(ProofCheck(read_keys(_text(key))), shown.append, **files)
    except (ProofFalse, ProofMissing, ProofUnreadable) as fault:
        code, reason = CODES[type(fault)], str(fault)
    if as_json:
        data = {"good": code == 0, "shown": shown, "reason": reason, "exit_code": code}
        click.echo(json.dumps(data))
    else:
        for sentence in shown:
            click.echo(f"good: {sentence}")
        if reason:
            click.echo(f"{'false' if code == FALSE else 'not checked'}: {reason}", err=True)
    sys.exit(code)


def _check(
    check: ProofCheck,
    say: Callable[[str], None],
    *,
    checkpoint: Path | None,
    previous: Path | None,
    receipt: Path | None,
    proofs: tuple[Path, ...],
    export: Path | None,
) -> None:
    """Say what holds, one after another; raises at the first thing that does not."""
    newest = check.checkpoint(_text(checkpoint)) if checkpoint else None
    if newest:
        say(f"checkpoint: {newest.origin}, {newest.size} leaves")
    if previous:
        say(f"previous: {check.checkpoint(_text(previous), 'previous').size} leaves")
    if receipt:
        bound = check.receipt(_text(receipt))
        say(f"receipt: transaction {bound.tx_id}, posted at {bound.posted_at}")
    for path in proofs:
        say(f"proof: {check.proof(_document(path))}")
    if export:
        note = _end(export).get("checkpoint")
        if note:
            check.checkpoint(note, "export")
        with _opened(export) as file:
            say(f"export: {check.export(ExportLines(file))}")
    check.compare()
    if newest:
        for size in sorted(check.roots.keys() - {newest.size}):
            check.continues(size, newest.size)
            say(f"log: the trees of {size} and of {newest.size} leaves are one")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as fault:
        raise ProofUnreadable(f"{path.name}: {_said(fault)}") from fault


def _document(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as fault:
        raise ProofUnreadable(f"{path.name}: not JSON") from fault


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as fault:
        raise ProofUnreadable(f"{path.name}: {_said(fault)}") from fault


def _end(path: Path) -> dict[str, Any]:
    """Return the last line of an export: its checkpoint is needed before the first one."""
    with _opened(path) as file:
        file.seek(max(0, path.stat().st_size - END_BYTES))
        lines = file.read().splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (ValueError, TypeError, IndexError) as fault:
        raise ProofUnreadable(f"{path.name}: its last line says no end") from fault


def _said(fault: OSError | ValueError) -> str:
    return fault.strerror or "cannot be read" if isinstance(fault, OSError) else "not UTF-8"
