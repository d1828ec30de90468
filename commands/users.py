"""`flask users`: people of a tenant, by hand.

WHO is an e-mail address or an id. A password is asked for on a terminal, and is else the first line
of stdin: never an argument, which every process of the machine could read.
Exit codes: 0 done; 2 what was asked cannot be (a bad address, a weak password, a bad line); 3 a
finding (not found, taken, the last operator, hashes left to upgrade); 4 the database cannot be
reached.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from uuid import UUID

import click

from commands.arguments import LABEL, json_option, tenant_option
from commands.database import opened_database
from commands.show import show
from commands.subject import subject
from persistence.kv import Kv, KvSettings
from services.passwords import passwords_of
from services.stored_hashes import parse_class
from services.throttle import Throttle, ThrottleSettings
from services.user_import import BadLine, UserImport, read_person
from services.users import FIRST_PAGE, Users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config import Config
    from persistence.db import Database
    from repos.users import HashCountRow, UserRow
    from services.passwords import NewHash
    from services.stored_hashes import CostClass

FINDING = 3
BAD_LINES_SHOWN = 20
reason_option = click.option("--reason", type=LABEL, help="Why, for the audit log.")


@click.group("users")
def users() -> None:
    """Users: people of a tenant."""


# --- Made and listed ----------------------------------------------------------------------------


@users.command("create")
@click.argument("email")
@tenant_option
@click.option("--role", type=click.Choice(["user", "operator"]), default="user", show_default=True)
@click.option("--display-name", type=LABEL, help="For people.")
@click.option("--password", "with_password", is_flag=True, help="Ask for one, or read stdin.")
@json_option
def create_user(
    email: str,
    tenant_id: str | None,
    role: str,
    display_name: str | None,
    with_password: bool,
    as_json: bool,
) -> None:
    """Make an active user with address EMAIL; an operator has a password from the start."""
    with opened_database() as (config, db):
        tenant = tenant_id or config.default_tenant
        wanted = with_password or role == "operator"
        password = _chosen(config, db, tenant, email, role) if wanted else None
        row = Users(db).create(
            tenant, email, subject(), display_name=display_name, role=role, password=password
        )
    show(asdict(row), f"made {row.role} {row.id}", as_json)


@users.command("list")
@tenant_option
@click.option(
    "--after",
    "after_id",
    type=click.UUID,
    default=FIRST_PAGE,
    help="Go on after this user: the last one's id, or `next_after` of the JSON.",
)
@click.option("--status", type=click.Choice(["active", "disabled", "deleted"]))
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
def list_users(
    tenant_id: str | None, after_id: UUID, status: str | None, limit: int, as_json: bool
) -> None:
    """List users of a tenant, oldest first."""
    with opened_database() as (config, db):
        tenant_id = tenant_id or config.default_tenant
        rows = Users(db).list_page(tenant_id, after_id=after_id, status=status, limit=limit)
    text = "\n".join(
        f"{row.id}  {row.status}  {row.role}  {row.email or '(erased)'}" for row in rows
    )
    next_after = rows[-1].id if len(rows) == limit else None
    show({"data": [asdict(row) for row in rows], "next_after": next_after}, text, as_json)


# --- Changed ------------------------------------------------------------------------------------


@users.command("role")
@click.argument("who")
@click.argument("role", type=click.Choice(["user", "operator"]))
@tenant_option
@json_option
def set_role(who: str, role: str, tenant_id: str | None, as_json: bool) -> None:
    """Make WHO an operator, with a new password, or a user; the sessions end."""
    with _found(who, tenant_id) as (config, db, found):
        tenant = found.tenant_id
        if role == "user":
            row = Users(db).demote(tenant, found.id, subject())
        else:
            old = Users(db).stored_hash(tenant, found.id)
            password = _chosen(config, db, tenant, found.email or "", role, old)
            row = Users(db).promote(tenant, found.id, password, subject())
    show(asdict(row), f"{row.id} is {row.role}", as_json)


@users.command("disable")
@click.argument("who")
@tenant_option
@reason_option
@json_option
def disable(who: str, tenant_id: str | None, reason: str | None, as_json: bool) -> None:
    """Let WHO in no more; the sessions end with the next request."""
    _set_status(who, tenant_id, "disabled", reason, as_json)


@users.command("enable")
@click.argument("who")
@tenant_option
@reason_option
@json_option
def enable(who: str, tenant_id: str | None, reason: str | None, as_json: bool) -> None:
    """Let WHO in again, by a new log-in."""
    _set_status(who, tenant_id, "active", reason, as_json)


@users.command("unlock")
@click.argument("who")
@tenant_option
@reason_option
@json_option
def unlock(who: str, tenant_id: str | None, reason: str | None, as_json: bool) -> None:
    """Forget the log-ins of WHO that failed: the next try counts from anew."""
    with _found(who, tenant_id) as (config, db, found):
        secret = next(iter(config.subkeys("throttle").values()))
        throttle = Throttle(db, Kv(None, KvSettings()), ThrottleSettings(), secret)
        throttle.unlock(found.tenant_id, found.id, subject(), reason=reason)
    show(asdict(found), f"{found.id} is unlocked", as_json)


def _set_status(
    who: str,
    tenant_id: str | None,
    status: Literal["active", "disabled"],
    reason: str | None,
    as_json: bool,
) -> None:
    with _found(who, tenant_id) as (_, db, found):
        row = Users(db).set_status(found.tenant_id, found.id, status, subject(), reason=reason)
    show(asdict(row), f"{row.id} is {row.status}", as_json)


@users.command("erase")
@click.argument("who")
@tenant_option
@reason_option
@click.option("--yes", is_flag=True, help="Needed: nothing brings the person back.")
@json_option
def erase(who: str, tenant_id: str | None, reason: str | None, yes: bool, as_json: bool) -> None:
    """Empty what names WHO, and end the sessions; the id stays for what points to it."""
    if not yes:
        raise click.UsageError("This cannot be undone: say --yes if you mean it.")
    with _found(who, tenant_id) as (_, db, found):
        Users(db).erase(found.tenant_id, found.id, subject(), reason=reason)
    show({"id": found.id, "status": "deleted"}, f"erased {found.id}", as_json)


# --- Hashes of other systems --------------------------------------------------------------------


@users.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@tenant_option
@json_option
def import_users(file: Path, tenant_id: str | None, as_json: bool) -> None:
    """Make users of FILE, a JSON object a line; addresses that are taken are left out.

    Fields: email; password_hash (bcrypt or Argon2), display_name, status (active, disabled),
    email_verified (true), legacy_id. One bad line, and nothing is imported.
    """
    counts = {"imported": 0, "skipped": 0}
    with file.open("rb") as lines, opened_database() as (config, db):
        _refuse_bad(lines)
        lines.seek(0)
        people = (read_person(line) for line in lines if line.strip())
        tenant = tenant_id or config.default_tenant
        for batch in UserImport(db).run(tenant, people, subject()):
            counts["imported"] += batch.imported
            counts["skipped"] += batch.skipped
    show(counts, f"{counts['imported']} imported, {counts['skipped']} were there", as_json)


def _refuse_bad(lines: BinaryIO) -> None:
    bad = 0
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                read_person(line)
        except BadLine as fault:
            bad += 1
            if bad <= BAD_LINES_SHOWN:
                click.echo(f"line {number}: {fault}", err=True)
    if bad:
        raise click.UsageError(f"{bad} bad lines: nothing was imported.")


@users.command("hash-report")
@tenant_option
@click.option("--strict", is_flag=True, help="Exit 3 if a hash is not what new ones are.")
@json_option
def hash_report(tenant_id: str | None, strict: bool, as_json: bool) -> None:
    """Count users by how their passwords are hashed: what is left to upgrade at log-in."""
    with opened_database() as (config, db):
        current = passwords_of(config, db).current_class
        rows = Users(db).count_hashes(tenant_id or config.default_tenant)
    kinds = [_kind(row, current) for row in rows]
    left = sum(kind["users"] for kind in kinds if kind["hash"] and not kind["is_current"])
    text = "\n".join(f"{kind['users']:>9}  {kind['hash'] or 'no password'}" for kind in kinds)
    show({"current": str(current), "left": left, "data": kinds}, f"{text}\n{left} left", as_json)
    if strict and left:
        sys.exit(FINDING)


def _kind(row: HashCountRow, current: CostClass) -> dict[str, Any]:
    each = parse_class(row.beginning) if row.beginning else None
    name = row.beginning if each else "unusable" if row.has_hash else None
    return {"hash": name, "users": row.user_count, "is_current": each == current}


# --- Who, and with which password ---------------------------------------------------------------


@contextlib.contextmanager
def _found(who: str, tenant_id: str | None) -> Iterator[tuple[Config, Database, UserRow]]:
    with opened_database() as (config, db):
        tenant = tenant_id or config.default_tenant
        try:
            user_id = UUID(who)
        except ValueError:
            yield config, db, Users(db).find_by_email(tenant, who)
        else:
            yield config, db, Users(db).find_by_id(tenant, user_id)


def _chosen(
    config: Config, db: Database, tenant_id: str, email: str, role: str, old: str | None = None
) -> NewHash:
    """Read a new password, judge it and hash it."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = click.get_text_stream("stdin").readline().rstrip("\r\n")
    return passwords_of(config, db).chosen(
        password, tenant_id=tenant_id, email=email, role=role, current_hash=old
    )
