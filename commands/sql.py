"""`flask check-sql`: what the database makes of every statement file.

Exit codes: 0 clean, 2 no such file, 3 findings, 4 the database cannot be asked.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from commands.database import opened_database
from errors import DatabaseUnavailable
from persistence import sql_check, sql_files
from persistence.db import Database, DbSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

FINDING, NOT_LOOKED = 3, 4


@click.command("check-sql")
@click.option("--file", "name", help="Only this file: payments/capture.")
@click.option("--plans", is_flag=True, help="Look at the query plans too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--database-url", help="Another database than the configured one.")
def check_sql(name: str | None, plans: bool, as_json: bool, database_url: str | None) -> None:
    """Prepare and describe every statement file on the migrated schema."""
    names = sql_files.names()
    if name is not None and name not in names:
        raise click.BadParameter(f"there is no sql/{name}.sql", param_hint="--file")
    chosen = [name] if name else names
    with _opened(database_url) as db, contextlib.closing(db.connections.connect()) as raw:
        findings = [each for n in chosen for each in sql_check.check(raw, n, plans=plans)]
    if as_json:
        found = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"files": len(chosen), "findings": found}))
    for finding in findings:
        click.echo(f"sql/{finding.file}.sql: {finding.text}", err=as_json)
    click.echo(f"{len(chosen)} files, {len(findings)} findings", err=as_json)
    if findings:
        sys.exit(FINDING)


@contextlib.contextmanager
def _opened(url: str | None) -> Iterator[Database]:
    if url is None:
        with opened_database() as (_, db):
            yield db
        return
    try:
        yield Database(url, DbSettings())
    except DatabaseUnavailable as error:
        click.echo(f"{error.code}: {error.detail}", err=True)
        sys.exit(NOT_LOOKED)
