"""`flask legacy` and `flask verify-drift`: the move, by hand; all its commands on one screen."""

from __future__ import annotations

import click

from legacy import commands_copying as copying
from legacy import commands_looking as looking
from legacy import commands_moving as moving
from legacy.commands_comparing import verify_drift


@click.group("legacy")
def legacy_group() -> None:
    """Move users and payments over from a store that is in use, step by step."""


for command in (
    looking.show_status,
    looking.check,
    looking.prepare,
    moving.attach,
    moving.advance,
    moving.rollback,
    moving.finish,
    copying.backfill,
    copying.import_file,
    copying.mirror,
    copying.rejects,
):
    legacy_group.add_command(command)
legacy_group.add_command(verify_drift, "verify")
