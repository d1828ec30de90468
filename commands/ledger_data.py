"""`flask ledger-export` and `flask ledger-import`: a book as a file, and a file into a book.

Exit codes: 0 done; 2 usage; 3 lines were refused, or no such tenant; 4 not finished: the same file
again goes on; 5 the file is damaged.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import click

from blueprints import reading
from blueprints.posting_batches import read_items
from commands.arguments import MOMENT, json_option, tenant_option
from commands.database import opened_database
from commands.subject import subject
from errors import AppError, FeatureDisabled, FileDamaged
from services.actors import Actor
from services.checkpoints import SealKeys
from services.import_files import Lines, csv_items, ndjson_items
from services.ledger_exports import FORMATS, WHAT, ExportAsk, LedgerExports
from services.ledger_imports import BATCH, BATCH_MAX, ImportReport, LedgerImports
from services.ledger_restore import LedgerRestore, RestoreRefused
from services.ledger_writes import LedgerWrites
from services.posting_batches import BATCH_LEGS_MAX, BatchSettings, PostingBatches
from services.postings import Order

if TYPE_CHECKING:
    from config import Config
    from persistence.db import Database

REFUSED, UNFINISHED, DAMAGED = 3, 4, 5
SCOPES = frozenset({"ledger:post", "ledger:admin"})


@click.command("ledger-export")
@click.option("--what", type=click.Choice(WHAT), default="transactions", show_default=True)
@click.option("--format", "kind", type=click.Choice(FORMATS), default="ndjson", show_default=True)
@click.option("--posted-gte", type=MOMENT, metavar="TIME", help="Posted then, or later.")
@click.option(
    "--posted-lt", type=MOMENT, metavar="TIME", help="Posted before; without it, all that is final."
)
@click.option("--output", type=click.File("wb", lazy=False), default="-", help="File, else stdout.")
@tenant_option
def ledger_export(*, tenant_id: str | None, output: BinaryIO, kind: str, **asked: Any) -> None:
    """Write a book as NDJSON or CSV, as of one moment."""
    with opened_database() as (config, db):
        exports = LedgerExports(db, config.ledger_export_fetch_rows)
        ask = ExportAsk(format=kind, **asked)
        found = exports.begin(tenant_id or config.default_tenant, ask, is_patient=True)
        with found.held:
            output.writelines(found.lines)


@click.command("ledger-import")
@click.argument("file", type=click.File("rb"))
@click.option("--format", "kind", type=click.Choice(FORMATS), default="ndjson", show_default=True)
@click.option("--batch", type=click.IntRange(1, BATCH_MAX), default=BATCH, show_default=True)
@click.option(
    "--mode",
    type=click.Choice(["each", "all"]),
    default="each",
    show_default=True,
    help="all: a batch with a refusal posts nothing.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, batch by batch.")
@click.option(
    "--restore",
    type=click.File("rb"),
    metavar="ACCOUNTS",
    help="Make FILE's book anew, times included; ACCOUNTS is its export of accounts.",
)
@tenant_option
@json_option
def ledger_import(
    *,
    file: BinaryIO,
    kind: str,
    batch: int,
    mode: str,
    dry_run: bool,
    restore: BinaryIO | None,
    tenant_id: str | None,
    as_json: bool,
) -> None:
    """Post the transactions of FILE, a batch a commit; the same file again creates nothing."""
    if restore is not None:
        if kind == "csv" or dry_run:
            raise click.UsageError("--restore takes NDJSON, and is no dry run.")
        _restore(file, restore, tenant_id, as_json=as_json)
    report, failure = ImportReport(), None
    with opened_database() as (config, db):
        if not config.feature_ledger_enabled:
            raise FeatureDisabled
        actor = Actor(tenant_id or config.default_tenant, subject(), SCOPES)
        order = Order(actor=actor, request_id="cli:ledger-import", dry_run=dry_run)
        items = (csv_items if kind == "csv" else ndjson_items)(Lines(file.readline), reading.line)
        imports = LedgerImports(_batches(config, db), read_items)
        most = min(batch, config.ledger_batch_max)
        try:
            for _ in imports.run(order, items, report, most=most, is_whole=mode == "all"):
                click.echo(f"\r{report.read:,} read", nl=False, err=True)
        except FileDamaged as damaged:
            failure = (DAMAGED, damaged.detail)
        except AppError as error:
            failure = (UNFINISHED, f"{error.code}: {error.detail}")
    _tell(report, failure, as_json=as_json)


def _restore(
    file: BinaryIO, accounts: BinaryIO, tenant_id: str | None, *, as_json: bool
) -> NoReturn:
    """Restore, say what was done, and exit with its code."""
    done, code, reason = None, 0, None
    with opened_database() as (config, db):
        keys = SealKeys(
            origin=config.ledger_origin, seeds=config.seal_seeds, former=config.seal_former_keys
        )
        try:
            done = LedgerRestore(db, keys, tenant_id or config.default_tenant).run(file, accounts)
        except RestoreRefused as refused:
            code, reason = REFUSED, str(refused)
        except FileDamaged as damaged:
            code, reason = DAMAGED, damaged.detail
        except AppError as error:
            code, reason = UNFINISHED, f"{error.code}: {error.detail}"
    if as_json:
        data = asdict(done) if done else {}
        click.echo(json.dumps({**data, "error": reason, "exit_code": code}))
    elif done:
        click.echo(
            f"{done.accounts} accounts, {done.transactions} transactions, {done.leaves} sealed,"
            f" {done.signed} signed"
        )
    else:
        click.echo(reason, err=True)
    sys.exit(code)


def _batches(config: Config, db: Database) -> PostingBatches:
    settings = BatchSettings(
        transactions_max=config.ledger_batch_max,
        legs_max=BATCH_LEGS_MAX,
        transaction_legs_max=config.ledger_legs_max,
    )
    writes = LedgerWrites(db, backdate_max_days=config.ledger_backdate_max_days)
    return PostingBatches(writes, settings)


def _tell(report: ImportReport, failure: tuple[int, str] | None, *, as_json: bool) -> None:
    """Say what was done, and exit with its code."""
    code = failure[0] if failure else REFUSED if report.refused else 0
    click.echo("", err=True)
    if as_json:
        data = {**report.data, "error": failure and failure[1], "exit_code": code}
        click.echo(json.dumps(data, default=str))
    else:
        click.echo(
            f"{report.read} read: {report.created} created, {report.existing} there before,"
            f" {report.refused} refused"
        )
        for fault in report.faults:
            click.echo(f"  line {fault['line']} {fault['pointer']}: {fault['code']}")
        if failure:
            click.echo(failure[1], err=True)
    sys.exit(code)
