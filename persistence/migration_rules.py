"""What each kind of statement must not do: the rules of the lint (M14, M30, M31).

A rule yields (name, message) for every breach. It sees the whole file so far and what earlier
files made, since most things are harmless on a table that the same file makes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from persistence.migration_reading import Constraint, Reading
    from persistence.migration_scene import Scene

    Breach = tuple[str, str]

LEADER = "tenant_id"
# Reference data of the whole installation; every other key leads with the tenant.
GLOBAL_TABLES = frozenset({"currencies"})

# Settings of the runner, and what would change who or where a statement acts.
_NOT_TO_SET = re.compile(r"search_path|role|session\w*|lock_timeout")
_PROOF = re.compile(r"(?:constraint \S+ )?check \(\d+\)(?P<later> not valid)?")
_DEFAULT = re.compile(
    r"(?<!\S)default (?P<value>.+?)"
    r"(?= (?:not null|null|constraint|check|unique|primary key|references|collate)(?!\S)|$)"
)
# What PostgreSQL works out once for all rows that are there, so that none is rewritten.
_CAST = r"(?: :: [\w\". ]+?(?: \([\d, ]+\))?(?: \[\])*)*"
_CONSTANT = re.compile(
    r"(?:(?:[-+] )?\d[\w.]*|(?:[a-z]\w* )?''|true|false|null|array \[[', \d]*\]"
    rf"|now \(\)|current_timestamp|current_date){_CAST}"
)
_SERIAL = re.compile(r"\S+ (?:small|big)?serial(?!\S)|.*(?<!\S)generated(?!\S).*")
_DANGEROUS = re.compile(r"\b(?:drop|truncate|delete|alter|execute)\b", re.IGNORECASE)


def alone(scene: Scene, reading: Reading) -> Iterator[Breach]:
    """M14: what runs outside a transaction may run twice, when a crash hides that it was done."""
    if reading.alone and scene.file.transactional:
        yield "rerun", "cannot run in a transaction: add `-- migrate: no-transaction`"
    elif reading.alone and reading.kind.startswith("drop") and "guard" not in reading.facts:
        yield "rerun", "would fail when it runs again after a crash"


def _constraints(scene: Scene, reading: Reading) -> Iterator[Breach]:
    for constraint in reading.constraints():
        if constraint.name is None:
            yield "unnamed", f"a {constraint.kind} without a name: names are part of the API"
        if constraint.kind not in {"check", "exclude"} and not _led(reading.table, constraint):
            yield "global-table", f"a {constraint.kind} that {LEADER} does not lead"
        proof = _PROOF.fullmatch(constraint.text)
        key = (reading.table, constraint.name)
        if proof and (column := _not_null_column(reading, constraint)):
            scene.known.proofs[key] = column
            if not proof["later"]:
                scene.known.proven.add((reading.table, column))


def _led(table: str, constraint: Constraint) -> bool:
    free = table in GLOBAL_TABLES or constraint.target in GLOBAL_TABLES
    return free or constraint.first_column == LEADER or " using index " in constraint.text


def _not_null_column(reading: Reading, constraint: Constraint) -> str:
    group = re.findall(r"\(\d+\)", constraint.text)[0]
    match = re.fullmatch(r"(\w+) is not null", reading.shape.inside(group))
    return match[1] if match else ""


def _create_table(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if any(element.startswith("like ") for element in reading.elements()):
        yield "unknown", "LIKE copies what this file does not show"
    if not any(c.kind == "primary key" for c in reading.constraints()):
        scene.keyless[reading.table] = reading
    yield from _constraints(scene, reading)
    # With IF NOT EXISTS it may be an old table after all.
    if "guard" not in reading.facts:
        scene.made.add(reading.table)


def _create_index(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if "name" not in reading.facts:
        yield "unnamed", "an index without a name"
    first = reading.shape.inside(reading.facts["keys"]).split(" ")[0]
    if "unique" in reading.facts and first != LEADER and reading.table not in GLOBAL_TABLES:
        yield "global-table", f"a unique index that {LEADER} does not lead"
    if not reading.alone and reading.table not in scene.made:
        yield "blocking", "writers wait while it is built: CONCURRENTLY, in a no-transaction file"


def _create_routine(scene: Scene, reading: Reading) -> Iterator[Breach]:
    whole, facts = reading.shape.whole, reading.facts
    signature = (whole(facts["arguments"]), whole(facts.get("returns", "")))
    known = scene.known.routines.setdefault(facts["name"], signature)
    if "replace" in facts and signature != known:
        yield "retype", "a function of this name has another signature: the old release calls it"


def _create_trigger(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if reading.table in scene.made:
        return
    if scene.file.transactional:
        scene.live_triggers[reading.table, reading.facts["name"]] = reading
    else:
        yield "trigger", "is live until the next statement: use a transaction"


def _disable_trigger(scene: Scene, reading: Reading) -> Iterator[Breach]:
    made_here = scene.live_triggers.pop((reading.table, reading.facts["name"]), None)
    if not made_here and reading.table not in scene.made:
        yield "trigger", "switches off what the old release relies on"


def _enable_trigger(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if reading.table not in scene.made:
        yield "trigger", "the old release does not expect it"


def _add_column(scene: Scene, reading: Reading) -> Iterator[Breach]:
    yield from _constraints(scene, reading)
    if reading.table in scene.made:
        return
    element = reading.facts["definition"]
    match = _DEFAULT.search(element)
    default = reading.shape.whole(match["value"]) if match else "null"
    if _SERIAL.fullmatch(element) or not _CONSTANT.fullmatch(default):
        yield "rewrite", "a value that every row gets anew rewrites the table"
    elif default == "null" and re.search(r"(?<!\S)not null(?!\S)", element):
        yield "not-null", "the old release's INSERT would fail: give a constant DEFAULT"
    if reading.constraints():
        yield "blocking", "is checked against all rows: add the constraint NOT VALID, apart"


def _add_constraint(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if any(c.kind == "primary key" for c in reading.constraints()):
        scene.keyless.pop(reading.table, None)
    yield from _constraints(scene, reading)
    if reading.table in scene.made:
        return
    for constraint in reading.constraints():
        scene.added.add((reading.table, constraint.name))
        if constraint.kind in {"check", "foreign key"}:
            if not constraint.text.endswith(" not valid"):
                yield "blocking", "is checked against all rows: NOT VALID, and VALIDATE later"
        elif " using index " not in constraint.text:
            yield "blocking", "builds an index under a lock: build it first, then USING INDEX"


def _validate(scene: Scene, reading: Reading) -> Iterator[Breach]:
    key = (reading.table, reading.facts["name"])
    if key in scene.added and scene.file.transactional:
        yield "blocking", "its ADD still holds the lock here: validate in another transaction"
    if key in scene.known.proofs:
        scene.known.proven.add((reading.table, scene.known.proofs[key]))


def _set_not_null(scene: Scene, reading: Reading) -> Iterator[Breach]:
    column = (reading.table, reading.facts["column"])
    if reading.table not in scene.made and column not in scene.known.proven:
        yield "not-null", "reads the whole table: validate a CHECK (column IS NOT NULL) before"


def _data(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if reading.table not in scene.made:
        yield "data", "moves rows of an existing table: that is a resumable command's work"


def _insert_values(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if any("select" in group.split(" ") for group in reading.shape.groups):
        yield from _data(scene, reading)


def _do(_: Scene, reading: Reading) -> Iterator[Breach]:
    yield "data", "nobody can tell what DO touches"
    if _DANGEROUS.search(reading.statement.text):
        yield "drop", "DO holds a word that can destroy"


def _set_local(scene: Scene, reading: Reading) -> Iterator[Breach]:
    if not scene.file.transactional or _NOT_TO_SET.fullmatch(reading.facts["name"]):
        yield "session", "is the runner's to set, or lasts for no other statement"


def _vacuum(_: Scene, reading: Reading) -> Iterator[Breach]:
    if "full" in reading.shape.whole(reading.facts.get("options", "")):
        yield "rewrite", "VACUUM FULL rewrites the table under a lock"


def _always(rule: str, message: str) -> Callable[[Scene, Reading], Iterable[Breach]]:
    return lambda _scene, _reading: [(rule, message)]


RULES: dict[str, Callable[[Scene, Reading], Iterable[Breach]]] = {
    "create table": _create_table,
    "create domain": _constraints,
    "create index": _create_index,
    "create index concurrently": _create_index,
    "create routine": _create_routine,
    "create trigger": _create_trigger,
    "disable trigger": _disable_trigger,
    "enable trigger": _enable_trigger,
    "add column": _add_column,
    "add constraint": _add_constraint,
    "validate": _validate,
    "set not null": _set_not_null,
    "insert values": _insert_values,
    "data": _data,
    "do": _do,
    "set local": _set_local,
    "vacuum": _vacuum,
    "session": _always("session", "a file is run, committed and cleaned up by the runner alone"),
    "drop": _always("drop", "the old release, or the way back, may still need it"),
    "drop index concurrently": _always("drop", "the old release's queries may need it"),
    "rename": _always("rename", "the old release still uses the old name"),
    "retype": _always("retype", "the old release still uses the old type"),
    "rewrite": _always("rewrite", "rewrites a table or index under a lock"),
    "unknown": _always("unknown", "no kind of statement that migrations may hold"),
}
