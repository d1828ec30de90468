"""Additive only: what a migration may hold is an allow-list (M30, M31).

migration_forms.py lists the kinds of statement that there are, migration_rules.py what each must
not do. A kind without rules is harmless, `unknown` is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from persistence.migration_errors import LintRefused
from persistence.migration_files import DESTRUCTIVE
from persistence.migration_reading import read
from persistence.migration_rules import RULES, alone
from persistence.migration_scene import Known, Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from persistence.migration_files import MigrationFile
    from persistence.migration_reading import Reading
    from persistence.migration_rules import Breach


class Finding(NamedTuple):
    """One broken rule. `reason` is what the file's `allow` gives for it, None without one."""

    version: int
    file: str
    line: int
    rule: str
    message: str
    reason: str | None

    def refused(self, *, allow_destructive: bool) -> bool:
        """Destructive rules need a second key, which no file can bring along (M31)."""
        return self.reason is None or (self.rule in DESTRUCTIVE and not allow_destructive)

    def __str__(self) -> str:
        allowed = f" (allowed: {self.reason})" if self.reason else ""
        return f"{self.file}, line {self.line}: {self.rule}: {self.message}{allowed}"


def lint(files: Iterable[MigrationFile]) -> list[Finding]:
    """Return every finding in all files, allowed ones too. Earlier files explain later ones."""
    known = Known()
    return [finding for file in files for finding in _findings(Scene(file, known))]


def refuse(
    findings: Iterable[Finding], versions: frozenset[int], *, allow_destructive: bool
) -> None:
    """Raise LintRefused if there is a word against a file of these versions (M30, M31)."""
    refused = [
        finding
        for finding in findings
        if finding.version in versions and finding.refused(allow_destructive=allow_destructive)
    ]
    if refused:
        head = 'refused; a file may `allow <rule> "<reason>"`'
        if not allow_destructive:
            head += ", what destroys needs --allow-destructive too"
        raise LintRefused(
            "\n".join([f"{head}:", *map(str, refused)]),
            findings=[finding._asdict() for finding in refused],
        )


def _findings(scene: Scene) -> Iterator[Finding]:
    """Yield every breach, in the order of the statements."""
    for statement in scene.file.statements:
        for reading in read(statement):
            rule = RULES.get(reading.kind)
            for breach in [*alone(scene, reading), *(rule(scene, reading) if rule else ())]:
                yield _finding(scene, reading, breach)
    for reading in scene.live_triggers.values():
        yield _finding(scene, reading, ("trigger", "disable it in the same transaction"))
    for reading in scene.keyless.values():
        yield _finding(scene, reading, ("global-table", "no primary key"))


def _finding(scene: Scene, reading: Reading, breach: Breach) -> Finding:
    rule, message = breach
    file, line = scene.file, reading.statement.line
    return Finding(file.version, file.name, line, rule, message, file.allows.get(rule))
