"""`flask new-epoch`: after a logical restore, which starts transaction ids anew (E4).

Exit codes: 0 done; 4 the database is away, or a long transaction holds the lock: run it again.
"""

from __future__ import annotations

import json

import click

from commands.arguments import LABEL, json_option
from commands.database import opened_database
from commands.subject import subject
from services.epochs import Epochs


@click.command("new-epoch")
@click.option("--reason", required=True, type=LABEL, help="Why, for the audit log.")
@click.option("--dry-run", is_flag=True, help="Say what is, and change nothing.")
@json_option
def new_epoch(reason: str, dry_run: bool, as_json: bool) -> None:
    """Begin an epoch of events: run it after every logical restore, before traffic comes back."""
    with opened_database() as (_, db):
        epochs = Epochs(db)
        epoch, was_stale = epochs.current()
        if not dry_run:
            epoch = epochs.begin(reason, subject())
    if as_json:
        click.echo(json.dumps({"epoch": epoch, "was_stale": was_stale, "dry_run": dry_run}))
        return
    state = "stale" if was_stale else "not stale"
    click.echo(f"epoch {epoch}, {state}" if dry_run else f"epoch {epoch} has begun")
