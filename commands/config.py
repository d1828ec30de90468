"""`flask check-config`: what the settings are, where they come from, whether the server fits.

Exit codes: 0 fine, 2 a faulty setting (all are named), 3 the server does not fit (`--db`), 4 it
cannot be asked.
"""

from __future__ import annotations

import json
import sys

import click
from pydantic import SecretStr

from commands.database import opened_database
from config import Config, allowed, has_twin, is_secret, read
from services.server_fit import misfits

FINDING = 3
PAGE_HEAD = """\
# Settings

Read once, at the start, from the environment and from `.env` in the project's folder, which the
environment overrides. All faults are reported together, without their values (exit 2). Booleans
are exactly `true` or `false`, numbers digits only; the last part of a name is its unit. An empty
value is none. Secrets and URLs may stand in a file instead: `NAME_FILE` holds its path.

`flask check-config` shows what is in force and where it comes from; `--db` compares it with the
database server. This page is made by `flask check-config --markdown` from `config.py`.

| setting | default | allowed | what it is |
|---|---|---|---|
"""


@click.command("check-config")
@click.option("--db", "with_db", is_flag=True, help="Compare with the database server too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--markdown", is_flag=True, help="Print docs/config.md instead.")
def check_config(with_db: bool, as_json: bool, markdown: bool) -> None:
    """Show every setting, its value (secrets as ***) and its source."""
    if markdown:
        click.echo(page(), nl=False)
        return
    Config.load()  # Names all faults and exits 2.
    reading = read()
    found = {
        name.upper(): {"value": render(getattr(reading.config, name)), "source": source}
        for name, source in reading.sources.items()
    }
    findings = _findings() if with_db else []
    if as_json:
        click.echo(json.dumps({"settings": found, "findings": findings}))
    else:
        for name, fact in found.items():
            click.echo(f"{name} = {fact['value']}  ({fact['source']})")
        click.echo("".join(f"finding: {finding}\n" for finding in findings), nl=False, err=True)
    if findings:
        sys.exit(FINDING)


def _findings() -> list[str]:
    with opened_database() as (config, db):
        return misfits(config, db)


def render(value: object) -> str:
    """Write a value as the environment would have it; a secret is not shown."""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return "none" if value is None else str(value)


def default(name: str) -> str:
    """Say what the setting is when nobody sets it."""
    field = Config.model_fields[name]
    shown = str(field.json_schema_extra["shown"])  # type: ignore[index]
    return shown or render(field.default)


def page() -> str:
    """Return docs/config.md."""
    return PAGE_HEAD + "".join(map(_line, Config.model_fields))


def _line(name: str) -> str:
    field = Config.model_fields[name]
    shown = f"`{name.upper()}`" + (" (secret)" if is_secret(name) else "")
    file = f" Or `{name.upper()}_FILE`." if has_twin(name) else ""
    columns = (shown, default(name), allowed(name), f"{field.description}{file}")
    return f"| {' | '.join(columns)} |\n"
