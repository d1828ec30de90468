"""LEGACY_CONFIG: a TOML file with a section per domain (D42). All faults are found at once.

No fault repeats a value that could be a secret; DSNs stand in the environment, by `dsn_env`.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from legacy.columns import DomainConfig
from legacy.config_lines import lines
from legacy.ours import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEYS = ("adapter", "dsn_env", "path", "table", "writers", "capture", "columns")
# What each adapter can: where it is, and how it may capture.
PLACES = {
    "memory": (),
    "postgres": ("dsn_env",),
    "sqlite": ("dsn_env", "path"),
    "jsonl": ("path",),
    "csv": ("path",),
}
CAPTURES = {"postgres": ("trigger", "poll"), "sqlite": ("trigger", "poll")}
IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
COLUMNS_MAX = 64


class ConfigFaults(ValueError):
    """A configuration that cannot be used; `faults` names each place and what is wrong there."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


def load(text: str, environ: Mapping[str, str]) -> dict[str, DomainConfig]:
    """Return the domains of a configuration; ConfigFaults. `environ` has what `*_env` names."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigFaults([f"not TOML: {exc}"]) from None
    faults = [
        f"{name}: unknown; known: users, payments" for name in document if name not in DOMAINS
    ]
    sections = {name: document[name] for name in DOMAINS if name in document}
    if not sections and not faults:
        faults.append("neither [users] nor [payments]")
    if "payments" in sections and "users" not in sections:
        faults.append("payments: needs [users], whose rows it points to")
    found = {}
    for domain, section in sections.items():
        user_ids = _user_ids(sections.get("users"))
        found[domain] = _Section(domain, section, environ, user_ids).config(faults)
    if faults:
        raise ConfigFaults(faults)
    return {domain: config for domain, config in found.items() if config is not None}


def _user_ids(users: Any) -> str:
    """Return how ids of users are transformed, whatever else is wrong with their section."""
    try:
        return str(users["columns"]["id"]["as"])
    except (KeyError, TypeError):
        return "uuid8"


class _Section:
    def __init__(
        self, domain: str, section: Any, environ: Mapping[str, str], user_ids: str
    ) -> None:
        self._domain = domain
        self._section = section if isinstance(section, dict) else {}
        self._environ = environ
        self._user_ids = user_ids

    def config(self, faults: list[str]) -> DomainConfig | None:
        """Return the domain, or None with the reasons appended to `faults`."""
        columns = self._section.get("columns")
        mapped, wrong = lines(self._domain, columns if isinstance(columns, dict) else {})
        found = [*self._faults(), *(f"columns.{fault}" for fault in wrong)]
        faults += [f"{self._domain}.{fault}" for fault in found]
        if found:
            return None
        return DomainConfig(
            domain=self._domain,
            adapter=self._section["adapter"],
            table=self._section.get("table", self._domain),
            dsn=self._dsn(),
            writers=self._section.get("writers", "api"),
            capture=self._section.get("capture"),
            user_ids=self._user_ids,
            columns=mapped,
        )

    def _dsn(self) -> str:
        if name := self._section.get("dsn_env"):
            return self._environ[name]
        return str(self._section.get("path", ""))

    def _faults(self) -> Iterator[str]:
        for key in self._section.keys() - set(KEYS):
            yield f"{key}: unknown; known: {', '.join(KEYS)}"
        if self._section.get("adapter") not in PLACES:
            yield f"adapter: one of {', '.join(PLACES)}"
            return
        yield from self._place_faults(PLACES[self._section["adapter"]])
        yield from self._table_faults()
        yield from self._writer_faults()
        columns = self._section.get("columns")
        if not isinstance(columns, dict) or not columns:
            yield "columns: a table with a line for each column of ours"
        elif len(columns) > COLUMNS_MAX:
            yield f"columns: at most {COLUMNS_MAX}"

    def _place_faults(self, allowed: tuple[str, ...]) -> Iterator[str]:
        given = [key for key in ("dsn_env", "path") if key in self._section]
        adapter = self._section["adapter"]
        for key in given:
            if key not in allowed:
                yield f"{key}: not for {adapter}"
            elif not isinstance(self._section[key], str) or not self._section[key]:
                yield f"{key}: a text"
            elif key == "dsn_env" and not self._environ.get(self._section[key]):
                yield f"dsn_env: {self._section[key]} is not set"
        if adapter == "sqlite" and len(given) != 1:
            yield "sqlite: either dsn_env or path"

    def _table_faults(self) -> Iterator[str]:
        table = self._section.get("table")
        if self._section["adapter"] in CAPTURES and table is None:
            yield "table: missing"
        dotted = f"({IDENTIFIER}[.])?" if self._section["adapter"] == "postgres" else ""
        if table is not None and not re.fullmatch(dotted + IDENTIFIER, str(table)):
            yield "table: no plain identifier"
        if self._in_our_database() and "." not in str(table):
            yield "table: in our own database it needs its schema, as in shop.customers"

    def _in_our_database(self) -> bool:
        return self._section["adapter"] == "postgres" and "dsn_env" not in self._section

    def _writer_faults(self) -> Iterator[str]:
        captures = CAPTURES.get(self._section["adapter"], ())
        writers, capture = self._section.get("writers", "api"), self._section.get("capture")
        if writers not in {"api", "legacy"}:
            yield "writers: api or legacy"
        if capture is not None and capture not in captures:
            yield f"capture: {' or '.join(captures) or 'not for this adapter'}"
        if writers == "legacy" and capture is None and captures:
            yield 'capture: needed where writers = "legacy"'
        if capture == "poll" and "updated_at" not in (self._section.get("columns") or {}):
            yield "capture: poll needs the column updated_at"
