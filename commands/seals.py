"""`flask ledger-seal`, the job's work by hand; `flask ledger-redact`.

Exit codes: 0 done; 2 usage; 3 a tree does not continue what was signed, or no such tenant; 4 the
database is away, or transactions that still run hold the watermark back.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from commands.arguments import LABEL, TENANT, json_option, tenant_option
from commands.database import opened_database
from commands.signals import stopped_by_signals
from commands.subject import subject
from errors import NotFound
from services.checkpoint_copies import Copies
from services.checkpoints import SealKeys
from services.jobs import Ask, Finding, Run
from services.seal_job import SealJob
from services.seals import Seals

if TYPE_CHECKING:
    from threading import Event
    from uuid import UUID

    from config import Config
    from persistence.db import Database
    from services.seal_job import Once

FINDING, UNFINISHED = 3, 4
LATE_MAX = 10_000
EVERY_S = 1.0


@click.command("ledger-seal")
@click.option("--once", is_flag=True, help="Seal all that is committed now, then end.")
@click.option("--late", is_flag=True, help="Seal what came behind the watermark long ago, too.")
@click.option("--resume", is_flag=True, help="Sign again where that was stopped, if all agrees.")
@click.option("--tenant", "tenant_id", type=TENANT, metavar="ID", help="Only this tenant's book.")
@click.option(
    "--max-s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Longest wait for transactions that still run.",
)
@json_option
def ledger_seal(*, tenant_id: str | None, max_s: float, as_json: bool, **asked: bool) -> None:
    """Seal every book, each second until a signal, or once."""
    with opened_database() as (config, db), stopped_by_signals() as stop:
        seals = make_seals(config, db)
        job = SealJob(db, seals)
        named = job.tenants()
        if tenant_id not in {None, *named}:
            raise NotFound("There is no such tenant.")
        if not any(asked.values()):
            _until_signal(job, Ask(tenant_id=tenant_id), config.job_batch, stop)
            return
        done = []
        for each in [tenant_id] if tenant_id else named:
            if asked["resume"]:
                seals.resume(each)
            if asked["late"]:
                seals.seal_late(each, LATE_MAX)
            done.append(job.once(each, config.job_batch, max_s, stop))
    _tell(done, as_json)


@click.command("ledger-redact")
@click.argument("tx_id", metavar="ID", type=click.UUID)
@click.option("--reason", type=LABEL, required=True, help="Why, for the audit log.")
@tenant_option
@json_option
def ledger_redact(*, tx_id: UUID, reason: str, tenant_id: str | None, as_json: bool) -> None:
    """Empty the metadata of transaction ID; its hash stays, so that proofs hold (as the owner)."""
    with opened_database(as_owner=True) as (config, db):
        tenant = tenant_id or config.default_tenant
        was_there = make_seals(config, db).redact(tenant, tx_id, subject(), reason)
    said = "emptied" if was_there else "there was none"
    data = {"tenant": tenant, "tx_id": str(tx_id), "redacted": was_there}
    click.echo(json.dumps(data) if as_json else f"metadata of {tx_id}: {said}")


def make_seals(config: Config, db: Database) -> Seals:
    """Return the sealing of this installation: its keys, and where copies go."""
    keys = SealKeys(
        origin=config.ledger_origin, seeds=config.seal_seeds, former=config.seal_former_keys
    )
    copies = Copies(config.ledger_checkpoint_dir, config.ledger_checkpoint_url)
    return Seals(db, keys, copies, sign_every_s=config.ledger_seal_every_s)


def _until_signal(job: SealJob, ask: Ask, batch: int, stop: Event) -> None:
    while not stop.is_set():
        began = time.monotonic()
        try:
            for _ in job.work(Run(ask=ask, stop=stop, batch_max=batch)):
                if stop.is_set():
                    return
        except Finding as finding:
            click.echo(str(finding), err=True)
        stop.wait(max(0.0, EVERY_S - (time.monotonic() - began)))


def _tell(done: list[Once], as_json: bool) -> None:
    """Say what was done, and exit with its code."""
    stopped = any(each.state.stopped_reason for each in done)
    is_through = all(each.is_done for each in done)
    code = FINDING if stopped else 0 if is_through else UNFINISHED
    if as_json:
        click.echo(json.dumps({"tenants": [_data(each) for each in done], "exit_code": code}))
    else:
        click.echo("\n".join(_line(each) for each in done))
    sys.exit(code)


def _data(done: Once) -> dict[str, Any]:
    state = done.state
    through = state.sealed_through.isoformat() if state.sealed_through else None
    return {
        "tenant": done.tenant_id,
        "leaves": done.leaves,
        "tree_size": state.tree_size,
        "signed_size": state.signed_size,
        "sealed_through": through,
        "stopped_reason": state.stopped_reason,
        "finished": done.is_done,
    }


def _line(done: Once) -> str:
    data = _data(done)
    signed = f"signed to {data['signed_size']}" if data["signed_size"] else "not signed"
    through = f"through {data['sealed_through']}" if data["sealed_through"] else "through nothing"
    notes = [f"stopped: {data['stopped_reason']}"] if data["stopped_reason"] else []
    notes += [] if done.is_done else ["not finished: older transactions still run"]
    said = [f"{data['leaves']} leaves", f"tree of {data['tree_size']}", signed, through, *notes]
    return f"{done.tenant_id}: {', '.join(said)}"
