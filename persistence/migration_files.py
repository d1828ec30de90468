"""Reads the folder of migrations: names, checksums, directives (M1 to M3)."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from persistence.migration_errors import Misconfigured
from persistence.migration_splitter import Comment, Statement, split

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).resolve().parent.parent / "sql" / "migrations"
# No statement of ours needs more; a dump that strayed into the folder does.
MAX_BYTES = 1024 * 1024
# Longer, and every reader queues behind the waiting migration (M13).
MAX_LOCK_TIMEOUT_MS = 60_000
HIGHEST_NUMBER = 9999
HEADER = """\
-- {}: what it makes, and why. Additive only: `flask migrate lint`.
"""

# Two keys: the file's `allow` and --allow-destructive (M31). `unknown` may hide any of the others.
DESTRUCTIVE = ("drop", "rename", "retype", "unknown")
# What a file may allow itself with a reason. The rules `session` and `rerun` guard the runner's
# own promises, whole files and harmless reruns, so nothing allows them.
ALLOWABLE = (
    *DESTRUCTIVE,
    "not-null",
    "blocking",
    "rewrite",
    "trigger",
    "data",
    "unnamed",
    "global-table",
)

_NAME = re.compile(r"(\d{4}|\d{14})_[a-z0-9_]{1,80}\.sql")
_DIRECTIVE = re.compile(r"--\s*migrate\s*:", re.IGNORECASE)
_LOCK_TIMEOUT = re.compile(r"lock-timeout ([1-9]\d{0,5})(ms|s)")
_ALLOW = re.compile(r'allow ([a-z-]+) "([^"]*\S[^"]*)"')
_EXTENSION = re.compile(r"requires-extension ([a-z0-9_-]{1,63})")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One file as it is run and remembered. `allows` maps a lint rule to the reason given."""

    version: int
    name: str
    body: str
    statements: tuple[Statement, ...]
    transactional: bool = True
    lock_timeout_ms: int | None = None
    allows: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()

    @property
    def checksum(self) -> bytes:
        """The SHA-256 of the body, which has neither BOM nor CRLF (M2)."""
        return hashlib.sha256(self.body.encode()).digest()

    @property
    def statement_hashes(self) -> list[bytes]:
        """What a rerun compares with the statements that were done (M14)."""
        return [statement.sha256 for statement in self.statements]


def load(folder: Path = FOLDER) -> tuple[MigrationFile, ...]:
    """Return all files by version, or raise Misconfigured with every fault of the folder."""
    if not folder.is_dir():
        raise Misconfigured(f"{folder} is no folder")
    files: dict[int, MigrationFile] = {}
    faults: list[str] = []
    for path in sorted(folder.iterdir()):
        try:
            file = read(path)
        except Misconfigured as fault:
            faults.append(f"{path.name}: {fault}")
        else:
            first = files.setdefault(file.version, file)
            if first is not file:
                faults.append(f"{path.name}: version {file.version} is {first.name} already")
    if faults:
        raise Misconfigured("\n".join(faults), faults=faults)
    return tuple(file for _, file in sorted(files.items()))


def create(folder: Path, name: str) -> Path:
    """Write the next file with an empty header; raises Misconfigured if the name does not fit.

    The next number has four digits until there is a timestamp, then the time in UTC.
    """
    found = [match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    highest = max((int(match[1]) for match in found), default=0)
    version = (
        f"{highest + 1:04}" if highest < HIGHEST_NUMBER else f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    )
    path = folder / f"{version}_{name}.sql"
    if not _NAME.fullmatch(path.name):
        raise Misconfigured("a name has 1 to 80 of a-z, 0-9 and _")
    path.write_text(HEADER.format(path.stem), "utf-8")
    return path


def read(path: Path) -> MigrationFile:
    """Return the migration in `path`; raises Misconfigured."""
    match = _NAME.fullmatch(path.name)
    if not match or path.is_symlink() or not path.is_file():
        raise Misconfigured("only files named <4 or 14 digits>_<a-z, 0-9, _>.sql belong here")
    if path.stat().st_size > MAX_BYTES:
        raise Misconfigured(f"is larger than {MAX_BYTES} bytes")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"is not UTF-8 at byte {error.start}") from None
    return parse(int(match[1]), path.stem, text)


@functools.lru_cache(maxsize=1024)  # A process may make many applications: each file is split once.
def parse(version: int, name: str, text: str) -> MigrationFile:
    """Return the migration that `text` is; raises Misconfigured."""
    if "\0" in text:
        raise Misconfigured("holds NUL")
    body = text.replace("\r\n", "\n")
    statements, comments = split(body)
    if not statements:
        raise Misconfigured("has no statement")
    directives = _directives(comments)
    return MigrationFile(
        version=version,
        name=name,
        body=body,
        statements=tuple(statements),
        transactional="no-transaction" not in directives,
        lock_timeout_ms=_lock_timeout_ms(directives),
        allows=_allows(directives),
        extensions=tuple(match[1] for text in directives if (match := _EXTENSION.fullmatch(text))),
    )


def _directives(comments: list[Comment]) -> list[str]:
    """Return what stands after `-- migrate: `; a typing error must not pass as a comment."""
    found: list[str] = []
    for comment in comments:
        if not _DIRECTIVE.match(comment.text):
            continue
        text = comment.text.removeprefix("-- migrate: ").rstrip()
        if not comment.leading:
            raise Misconfigured(f"line {comment.line}: a directive stands before the statements")
        if text == comment.text or not _known(text) or text in found:
            raise Misconfigured(f"line {comment.line}: unknown or repeated directive")
        found.append(text)
    return found


def _known(directive: str) -> bool:
    patterns = (_LOCK_TIMEOUT, _ALLOW, _EXTENSION)
    return directive == "no-transaction" or any(p.fullmatch(directive) for p in patterns)


def _lock_timeout_ms(directives: list[str]) -> int | None:
    given = [match for text in directives if (match := _LOCK_TIMEOUT.fullmatch(text))]
    values = [int(match[1]) * (1000 if match[2] == "s" else 1) for match in given]
    if len(values) > 1 or any(value > MAX_LOCK_TIMEOUT_MS for value in values):
        raise Misconfigured(f"one lock-timeout, of at most {MAX_LOCK_TIMEOUT_MS} ms")
    return values[0] if values else None


def _allows(directives: list[str]) -> dict[str, str]:
    allows: dict[str, str] = {}
    for match in filter(None, map(_ALLOW.fullmatch, directives)):
        rule, reason = match.groups()
        if rule not in ALLOWABLE or rule in allows:
            raise Misconfigured(f"allow {rule}: each once, of {', '.join(ALLOWABLE)}")
        allows[rule] = reason
    return allows
