"""Reads a statement as far as lint, locks and reruns need it: which kind, on which table.

There is no parser: a statement is brought into one shape, and matched with migration_forms.py.
What matches nothing there is of kind `unknown`, which the lint refuses (M30).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from persistence.migration_forms import ACTIONS, GROUP, NAME, PART, SHARE_ROW, STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from persistence.migration_forms import Form
    from persistence.migration_splitter import Statement, Token

_ALTER_TABLE = re.compile(
    rf"alter table (?:if exists )?(?:only )?(?P<table>{NAME})(?: \*)? (?P<actions>.*)"
)
_CONSTRAINT = re.compile(
    rf"(?<!\S)(?:constraint (?P<name>{PART}) )?(?:"
    rf"(?P<kind>check|unique|primary key|exclude)(?!\S)(?: nulls (?:not )?distinct)?"
    rf"(?: (?P<columns>{GROUP}))?"
    rf"|(?:foreign key (?P<key>{GROUP}) )?references (?P<target>{NAME}))"
)


_OPENED = {")": "(", "]": "["}


class Shape(NamedTuple):
    """A statement in lower case with single spaces, '' for literals, (n), [n] for groups[n]."""

    text: str
    groups: tuple[str, ...]

    def inside(self, group: str) -> str:
        """Return what stands between the parentheses or brackets written as `group`: "(3)"."""
        return self.groups[int(group[1:-1])]

    def whole(self, text: str) -> str:
        """Return `text` with every (n) and [n] written out, however deep."""
        return re.sub(
            r"([(\[])\d+([)\]])",
            lambda match: f"{match[1]}{self.whole(self.inside(match[0]))}{match[2]}",
            text,
        )


def shape_of(tokens: Sequence[Token]) -> Shape:
    """Return the shape of a statement; one with a name that needs odd quotes matches nothing."""
    if any(token.kind == "quoted" and not re.fullmatch(PART, token.text) for token in tokens):
        return Shape("?", ())
    groups: list[str] = []
    open_groups: list[list[str]] = [[]]
    for token in tokens:
        if token.text in {"(", "["}:
            open_groups.append([])
        elif token.text in _OPENED and len(open_groups) > 1:
            groups.append(_joined(open_groups.pop()))
            open_groups[-1].append(f"{_OPENED[token.text]}{len(groups) - 1}{token.text}")
        elif token.kind in {"string", "dollar"}:
            open_groups[-1].append("''")
        else:
            open_groups[-1].append(token.word or token.text)
    return Shape(_joined([word for words in open_groups for word in words]), tuple(groups))


def _joined(words: list[str]) -> str:
    return " ".join(words).replace(" . ", ".")


class Reading(NamedTuple):
    """What one statement, or one action of an ALTER TABLE, does. `facts` are the named parts."""

    statement: Statement
    shape: Shape
    kind: str
    lock: str
    alone: bool
    facts: dict[str, str]

    @property
    def table(self) -> str:
        """The table as it is written, or ""."""
        return self.facts.get("table", "")

    def locks(self) -> list[tuple[str, str]]:
        """Return (table, mode) for what it locks; a foreign key locks both its ends."""
        own = [(self.table, self.lock)] if self.lock and self.table else []
        return own + [(c.target, SHARE_ROW) for c in self.constraints() if c.target]

    def elements(self) -> list[str]:
        """Return the columns and constraints that a CREATE TABLE lists, or the added one."""
        if self.kind == "create table":
            return self.shape.inside(self.facts["body"]).split(" , ")
        return [self.facts["definition"]] if "definition" in self.facts else []

    def constraints(self) -> list[Constraint]:
        """Return the keys, foreign keys, checks and exclusions that it makes."""
        return [found for text in self.elements() for found in self._constraints_in(text)]

    def _constraints_in(self, element: str) -> Iterator[Constraint]:
        column, _, rest = element.partition(" ")
        inline = not _CONSTRAINT.match(element)
        for match in _CONSTRAINT.finditer(rest if inline else element):
            listed = match["columns"] or match["key"]
            columns = self.shape.inside(listed).split(" , ") if listed and not inline else [column]
            yield Constraint(
                kind=match["kind"] or "foreign key",
                name=match["name"],
                first_column=columns[0].split(" ")[0].strip('"'),
                target=match["target"],
                text=element,
            )


class Constraint(NamedTuple):
    """One constraint; `first_column` leads its key, `target` is what a foreign key points to."""

    kind: str
    name: str | None
    first_column: str
    target: str | None
    text: str


def read(statement: Statement) -> list[Reading]:
    """Return what the statement does: one reading, or one for each action of an ALTER TABLE."""
    shape = shape_of(statement.tokens)
    altered = _ALTER_TABLE.fullmatch(shape.text)
    if not altered:
        return [_match(statement, shape, shape.text, STATEMENTS, {})]
    table = {"table": altered["table"]}
    actions = altered["actions"].split(" , ")
    return [_match(statement, shape, action, ACTIONS, table) for action in actions]


def runs_alone(statement: Statement) -> bool:
    """Tell whether the server refuses the statement within a transaction."""
    return any(reading.alone for reading in read(statement))


def _match(
    statement: Statement, shape: Shape, text: str, forms: tuple[Form, ...], known: dict[str, str]
) -> Reading:
    for form in forms:
        if match := form.pattern.fullmatch(text):
            facts = {name: value for name, value in match.groupdict().items() if value} | known
            return Reading(statement, shape, form.kind, form.lock, form.alone, facts)
    return Reading(statement, shape, "unknown", "", False, known)
