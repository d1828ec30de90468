"""What commands of the move share: options, exit codes, and everything opened.

Exit codes: 0 done or clean; 2 usage or configuration; 3 a finding: drift, a closed gate, rejects;
4 could not look or finish: a store is away, or writers did not make way in time.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from commands.arguments import LABEL, TENANT
from commands.database import opened_database
from legacy.config_file import ConfigFaults
from legacy.links import DOMAINS, NoLink
from legacy.parts import make
from legacy.rows import phases
from legacy.settings import LegacySettings
from legacy.store import LegacyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from legacy.parts import Parts
    from legacy.rows.phases import StateRow

USAGE, FINDING, UNFINISHED = 2, 3, 4

tenant_option = click.option(
    "--tenant", "tenant_id", type=TENANT, default="default", show_default=True
)
all_tenants_option = click.option("--all-tenants", is_flag=True, help="Each that is attached.")
reason_option = click.option("--reason", type=LABEL, required=True, help="Kept in the audit log.")
domain_argument = click.argument("domain", type=click.Choice(DOMAINS))
dry_run_option = click.option("--dry-run", is_flag=True, help="Look, and change nothing.")


@contextmanager
def opened_parts(
    *, as_owner: bool = False, threads: int = 1, files: dict[str, Path] | None = None
) -> Iterator[Parts]:
    """Yield the parts of the move; what is wrong with the configuration is exit 2.

    `files`: by domain, exports to read in place of those that LEGACY_CONFIG names.
    """
    settings = LegacySettings.load()
    with opened_database(lambda _: threads, as_owner=as_owner) as (config, db):
        try:
            parts = make(config, db, settings, files)
            try:
                yield parts
            finally:
                parts.links.close()
        except ConfigFaults as error:
            for fault in error.faults:
                click.echo(f"LEGACY_CONFIG: {fault}", err=True)
            sys.exit(USAGE)
        except NoLink as error:
            click.echo(f"{error.args[0]}", err=True)
            sys.exit(USAGE)
        except LegacyError as error:
            click.echo(f"legacy_unavailable: {error}", err=True)
            sys.exit(UNFINISHED)


def attached(parts: Parts, tenant_id: str, *, all_tenants: bool) -> list[StateRow]:
    """Return the domains under way, of one tenant or of all, by tenant; users come first."""
    with parts.db.read() as conn:
        states = phases.list_attached(conn)
    wanted = [s for s in states if all_tenants or s.tenant_id == tenant_id]
    return sorted(wanted, key=lambda s: (s.tenant_id, DOMAINS.index(s.domain)))
