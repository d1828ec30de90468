"""`flask currencies`: the ISO 4217 table as SQL, generated from the iso4217 package (rule P3)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click

HEADER = """\
-- ISO 4217 as published on {published}: {count} codes. Written by `make currencies`.
-- Reference data of the whole installation: no tenant_id, and no foreign key leads here, so that
-- tenants can be sharded; sql/checks/payments_currency.sql proves membership instead.
"""

TABLE = """\
CREATE TABLE currencies (
    code char(3) NOT NULL,
    numeric_code smallint NOT NULL,
    name text NOT NULL,
    -- Digits after the decimal point; NULL (metals, test codes) means that nobody can pay in it.
    exponent smallint,
    published_on date NOT NULL,
    withdrawn_on date,
    CONSTRAINT currencies_pkey PRIMARY KEY (code),
    CONSTRAINT currencies_code_check CHECK (code ~ '^[A-Z]{3}$'),
    CONSTRAINT currencies_exponent_check CHECK (exponent BETWEEN 0 AND 4)
);

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyRow:
    """One row of ISO 4217's list one: `exponent` is None where it says N.A."""

    code: str
    numeric_code: int
    name: str
    exponent: int | None


def published() -> str:
    """Return the publication date of the package's list, as ISO 8601."""
    iso4217 = _package()
    return str(iso4217.parse_published(iso4217.raw_xml.attrib["Pblshd"]))


def iso_rows() -> list[CurrencyRow]:
    """Return every code of the package's list, by code."""
    rows = [
        CurrencyRow(
            code=code,
            numeric_code=int(entry["CcyNbr"]),
            name=str(entry["CcyNm"]),
            exponent=int(entry["CcyMnrUnts"]) if entry["CcyMnrUnts"].isdigit() else None,
        )
        for code, entry in _package().raw_table.items()
        if code and entry.get("CcyNbr")
    ]
    return sorted(rows, key=lambda row: row.code)


def migration_text() -> str:
    """Return the migration that makes the table `currencies` with all its rows."""
    rows, day = iso_rows(), published()
    values = ",\n".join(
        f"    ('{row.code}', {row.numeric_code}, '{row.name.replace(chr(39), chr(39) * 2)}', "
        f"{'NULL' if row.exponent is None else row.exponent}, '{day}')"
        for row in rows
    )
    insert = "INSERT INTO currencies (code, numeric_code, name, exponent, published_on) VALUES\n"
    return HEADER.format(published=day, count=len(rows)) + TABLE + insert + values + ";\n"


def _package() -> Any:
    """Import iso4217 only here: it parses its table at import, which no other command needs."""
    return import_module("iso4217")


@click.command("currencies")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def currencies(file: Path) -> None:
    """Write the migration of the ISO 4217 table to FILE."""
    file.write_text(migration_text(), encoding="utf-8")
    click.echo(f"{file}: {len(iso_rows())} currencies of {published()}")
