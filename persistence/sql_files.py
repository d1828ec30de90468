"""Reads one file of the SQL catalogue: header, parameters, text for the server.

A file is psql's own syntax, so `psql -v name=value -f FILE` runs it as it is. Rules AQ1 to AQ5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "sql"
# These folders hold SQL that no repository sends: the migrator and the checks read them.
OTHER_FOLDERS = ("migrations", "checks")

KEYS = ("why", "params", "kind", "returns", "locks", "scan", "claims", "present", "role")
ALLOWED = {
    "kind": ("read", "write"),
    "returns": ("one", "0..1", "many", "count"),
    "scan": ("tenant", "all"),
    "claims": ("key",),
    "role": ("owner",),
}
# AQ10: a parameter that may be NULL has one more prepared variant, unless it is text.
NULLABLE_MAX = 2

_ITEM = re.compile(rf"({'|'.join(KEYS)}):\s*(.*)")
_PARAM = re.compile(r"([a-z_][a-z0-9_]*) ([a-z_][a-z0-9_ ]*(?:\(\d+\))?(?:\[\])?)(\?)?")
# The order matters: what psql leaves alone (literals, comments, casts) is skipped first.
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<skip> [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
              | \$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?(tag)(?P=tag))\$ | :: )
    | :'(?P<param>\w+)'
    | (?P<end> ; )
    | (?P<refused> :"[^"]*" | :\{ | :\w+ | :' | \$\d+ | \\ | ' | " | /\* )
    """,
    re.VERBOSE | re.DOTALL,
)


class SqlFileError(ValueError):
    """A file of the catalogue breaks a rule; `faults` lists all of them."""

    def __init__(self, name: str, faults: list[str]) -> None:
        self.name = name
        self.faults = faults
        super().__init__("\n".join(f"sql/{name}.sql: {fault}" for fault in faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One parameter as the header declares it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFile:
    """One statement. `query` is the whole text, header included, with $1 for the first parameter.

    `present`: columns that are never NULL here, though their table or an outer join allows it.
    `role`: `owner` for what the application's role may not do, None for all else.
    """

    name: str
    query: str
    params: tuple[Param, ...]
    kind: str
    returns: str
    scan: str | None
    claims: str | None
    present: frozenset[str]
    role: str | None = None


def names(root: Path = ROOT) -> list[str]:
    """Return the name (`payments/capture`) of every statement file, sorted."""
    found = (path.relative_to(root) for path in root.glob("*/*.sql"))
    return sorted(
        path.with_suffix("").as_posix() for path in found if path.parts[0] not in OTHER_FOLDERS
    )


def load(name: str, root: Path = ROOT) -> SqlFile:
    """Read `sql/<name>.sql`; raises SqlFileError with every fault of the file."""
    faults: list[str] = []
    try:
        text = (root / f"{name}.sql").read_text("utf-8")
    except FileNotFoundError:
        raise SqlFileError(name, ["there is no such file"]) from None
    header = _header(name, text, faults)
    params = _params(header.get("params", "none"), faults)
    query = _compile(text, params, faults)
    if faults:
        raise SqlFileError(name, faults)
    return SqlFile(
        name=name,
        query=query,
        params=params,
        kind=header["kind"],
        returns=header["returns"],
        scan=header.get("scan"),
        claims=header.get("claims"),
        present=frozenset(re.findall(r"\w+", header.get("present", ""))),
        role=header.get("role"),
    )


def bare(text: str) -> str:
    """Return the text without its comments, literals and quoted names."""
    return _TOKEN.sub(lambda match: match[0] if match[0] in {"::", ";"} else " ", text)


def _header(name: str, text: str, faults: list[str]) -> dict[str, str]:
    """Return the header's items by key; a line without a key goes on with the item before it."""
    first, *rest = _comment_lines(text) or [""]
    if not re.fullmatch(rf"{re.escape(name)}: \S.*", first):
        faults.append(f"the first line must be '-- {name}: what it does' (AQ4)")
    items: dict[str, str] = {}
    key = ""
    for part in (part for line in rest for part in line.split(" | ")):
        if match := _ITEM.fullmatch(part):
            key = match[1]
            if key in items:
                faults.append(f"the header says '{key}' twice (AQ4)")
            items[key] = match[2].strip()
        elif key:
            items[key] += " " + part.strip()
    _check_items(items, faults)
    return items


def _comment_lines(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    return lines


def _check_items(items: dict[str, str], faults: list[str]) -> None:
    write = items.get("kind") == "write"
    needed = ["why", "params", "kind", "returns"] + ["locks"] * write
    faults += [f"the header lacks '{key}' (AQ4)" for key in needed if not items.get(key)]
    for key, allowed in ALLOWED.items():
        if items.get(key) and items[key] not in allowed:
            faults.append(f"'{key}' is one of {', '.join(allowed)} (AQ4)")
    if "claims" in items and not write:
        faults.append("'claims' is for writes (AQ4)")


def _params(declared: str, faults: list[str]) -> tuple[Param, ...]:
    if declared == "none":
        return ()
    params = []
    for item in declared.split(","):
        if match := _PARAM.fullmatch(item.strip()):
            params.append(Param(name=match[1], type=match[2].strip(), nullable=bool(match[3])))
        else:
            faults.append(f"'params' has '{item.strip()}', not 'name type' or 'name type?' (AQ4)")
    if sum(param.nullable and param.type != "text" for param in params) > NULLABLE_MAX:
        faults.append(f"more than {NULLABLE_MAX} parameters that are not text may be NULL (AQ10)")
    if len({param.name for param in params}) < len(params):
        faults.append("'params' names one twice (AQ4)")
    return tuple(params)


def _is_cast(type_: str, rest: str) -> bool:
    base = re.escape(type_.removesuffix("[]"))
    array = r" ?\[\]" if type_.endswith("[]") else ""
    return re.match(rf"::{base}{array}(?!\w| ?\[)", rest) is not None


def _compile(text: str, params: tuple[Param, ...], faults: list[str]) -> str:
    """Return the text with `:'name'` as the place of `name` in `params`: $1, $2 ..."""
    places = {param.name: (f"${i}", param.type) for i, param in enumerate(params, 1)}
    unused = dict(places)
    ends: list[int] = []

    def replace(match: re.Match[str]) -> str:
        token = match[0]
        if match["comment"] and ":'" in token:
            faults.append("a comment contains :' (AQ2)")
        elif match["refused"]:
            faults.append(f"{token} is refused: parameters are written :'name' (AQ2)")
        elif match["end"]:
            ends.append(match.end())
        elif name := match["param"]:
            place, type_ = places.get(name, ("", ""))
            unused.pop(name, None)
            if not place:
                faults.append(f":'{name}' is not in 'params' (AQ4)")
            elif not _is_cast(type_, text[match.end() :]):
                faults.append(f":'{name}' must be cast where it stands: ::{type_} (AQ3)")
            return place
        return token

    query = _TOKEN.sub(replace, text)
    faults += [f"parameter {name} is never used (AQ4)" for name in unused]
    if len(ends) != 1 or not text.rstrip().endswith(";"):
        faults.append("a file is one statement, ended by ; (AQ1)")
    return query
