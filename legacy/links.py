"""Which store a domain of a tenant is linked with, and which columns its map knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, cast

from legacy.guard import Guard, Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from legacy.columns import ColumnMap
    from legacy.store import LegacyStore

DOMAINS = ("users", "payments")
# Legacy decides up to VERIFYING, new from NEW_READS on; in NEW_ONLY nothing is sent any more.
LEGACY_ONLY, DUAL_WRITE, VERIFYING, NEW_READS, NEW_ONLY = 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A store, and what our side must know of it.

    `columns`: those that its map fills; others keep what new has. `writers`: api, or legacy: a
    program that goes on writing. `compare` brings rows to what the store can hold (V3). `names`:
    legacy ids by ours, as far as they were looked for (legacy/names.py).
    """

    adapter: str
    store: LegacyStore
    columns: frozenset[str]
    compare: ColumnMap
    writers: str = "api"
    names: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    guard: Guard = field(default_factory=Guard, repr=False, compare=False)

    def guarded(self) -> Link:
        """Return this link for a request: its store is behind the breaker (MF1)."""
        return replace(self, store=cast("LegacyStore", Guarded(self.store, self.guard)))

    @property
    def follows_versions(self) -> bool:
        """Tell whether versions tell new from old: not of a program that does not raise them."""
        return self.writers == "api" or self.store.capabilities.versions

    @property
    def has_program(self) -> bool:
        """Tell whether somebody else goes on writing: in a file that is read nobody does."""
        return self.writers == "legacy" and self.store.capabilities.writes

    @property
    def is_polled(self) -> bool:
        """Tell whether a program writes whose rows are asked for changes: deletions do not show."""
        return self.has_program and self.store.capabilities.capture == "poll"


class NoLink(LookupError):
    """No store is configured for this domain."""


class Links:
    """The links of this process, each opened once, at first use."""

    def __init__(self, open_link: Callable[[str, str], Link]) -> None:
        """`open_link(tenant_id, domain)` opens one; NoLink."""
        self._open = open_link
        self._links: dict[tuple[str, str], Link] = {}
        self._lock = Lock()

    def get(self, tenant_id: str, domain: str) -> Link:
        """Return the link of a domain; NoLink."""
        with self._lock:
            key = tenant_id, domain
            if key not in self._links:
                self._links[key] = self._open(tenant_id, domain)
            return self._links[key]

    def close(self) -> None:
        """Close all stores."""
        with self._lock:
            for link in self._links.values():
                link.store.close()
            self._links.clear()
