"""Users of another system, brought in with the hashes of their passwords (A17, A20).

A file has one JSON object a line. All of it is read first: one bad line, and nothing is imported.
An address that is taken is left out, so that an import which was cut off can be run again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import NotFound, ValidationFailed
from repos import tenants, users
from services.stored_hashes import parse
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from persistence.db import Database

BATCH_ROWS = 500
TEXT_MAX = 200
FIELDS = {
    "email": str,
    "password_hash": str,
    "display_name": str,
    "status": str,
    "email_verified": bool,
    "legacy_id": str,
}


class BadLine(ValueError):
    """A line that is no user; the text says which field and why, and repeats no value."""


def read_person(line: bytes) -> dict[str, Any]:
    """Return a line's user as the columns of its row; BadLine.

    Left out: `status` is active, `email_verified` true, everything else empty.
    """
    given = _read(line)
    stored = parse(given["password_hash"]) if "password_hash" in given else None
    if "password_hash" in given and stored is None:
        raise BadLine("password_hash: neither bcrypt nor Argon2 within the bounds")
    try:
        email_norm = normalise_email(given.get("email", ""))
    except ValidationFailed:
        raise BadLine("email: not an address") from None
    return {
        "email": given["email"],
        "email_norm": email_norm,
        "email_verified": given.get("email_verified", True),
        "display_name": _text(given, "display_name"),
        "status": _status(given),
        "legacy_id": _text(given, "legacy_id"),
        "password_hash": stored and stored.text,
        "password_algo": stored and stored.cost_class.algo,
        "password_params": stored and dict(stored.cost_class.params),
    }


def _read(line: bytes) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise BadLine("not a JSON object")
    if unknown := given.keys() - FIELDS.keys():
        raise BadLine(f"{len(unknown)} unknown fields; known: {', '.join(FIELDS)}")
    present = {name: value for name, value in given.items() if value is not None}
    for name, value in present.items():
        if type(value) is not FIELDS[name]:
            raise BadLine(f"{name}: of the wrong type")
    return present


def _text(given: dict[str, Any], name: str) -> str | None:
    text: str | None = given.get(name)
    if text is not None and not (0 < len(text) <= TEXT_MAX and text.isprintable()):
        raise BadLine(f"{name}: not a printable text of at most {TEXT_MAX} characters")
    return text


def _status(given: dict[str, Any]) -> str:
    status = str(given.get("status", "active"))
    if status not in {"active", "disabled"}:
        raise BadLine("status: neither active nor disabled")
    return status


@dataclass(frozen=True, slots=True)
class Imported:
    """How many users of a batch were made, and of how many the address or old id was taken."""

    imported: int
    skipped: int


class UserImport:
    """Brings people into a tenant, as users: who is to be an operator is made one afterwards."""

    def __init__(self, db: Database, new_id: Callable[[], UUID] = uuid7) -> None:
        self._db = db
        self._new_id = new_id

    def run(
        self, tenant_id: str, people: Iterable[dict[str, Any]], subject: str
    ) -> Iterator[Imported]:
        """Make users, some hundred in a transaction; yield what became of each batch.

        `people` are rows of `read_person`. NotFound: there is no such tenant.
        """
        with self._db.read() as conn:
            if tenants.get(conn, tenant_id=tenant_id) is None:
                raise NotFound("There is no such tenant.")
        waiting = iter(people)
        while batch := list(islice(waiting, BATCH_ROWS)):
            rows = [self._row(person) for person in batch]
            with self._db.write() as conn:
                made = users.import_batch(conn, tenant_id=tenant_id, rows=rows, subject=subject)
            yield Imported(made, len(rows) - made)

    def _row(self, person: dict[str, Any]) -> dict[str, Any]:
        return {**person, "id": str(self._new_id()), "audit_id": str(self._new_id())}
