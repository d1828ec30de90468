"""Copies of live sessions in Redis, which a read may trust for SESSION_CACHE_S (A42).

Two layers: the copy, and PostgreSQL wherever no copy is good enough. A copy says when PostgreSQL's
clock stood where; it is compared with what that clock shows now, as this process knows it from its
own last look. So a copy from an old dump, of another database or by another's hand is none.
"""

from __future__ import annotations

import hmac
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from observability import cache_total
from persistence.kv import KvDown
from repos.access_tokens import TokenRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.kv import Kv

MAC_BYTES = 32


class Trip(Protocol):
    """The one trip to Redis that a read makes on its way, as the frame of requests offers it."""

    def ask(self, tenant_id: str, subject: str, key: str) -> object:
        """Charge the request to `subject`, return what is at `key`; raises RateLimited, KvDown."""

    def after_answer(self, action: Callable[[], object]) -> None:
        """Do this when the answer has left."""


@dataclass(frozen=True, slots=True)
class Named:
    """Whose session a copy is of; `session` names the session and the key of its token."""

    tenant_id: str
    subject: str
    session: str

    @property
    def key(self) -> str:
        """The copy's name in Redis."""
        return f"sess:{{{self.tenant_id}/{self.subject}}}:{self.session}"


@dataclass(frozen=True, slots=True)
class _Clock:
    """What PostgreSQL's clock showed, at the earliest when ours stood at `own_s`."""

    own_s: float
    shown_s: float


class SessionCopies:
    """Keeps and finds them. Only what is live is kept, so a copy never says no."""

    def __init__(
        self,
        kv: Kv,
        secret: bytes,
        trusted_s: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`secret`, the subkey `session-cache`, signs them; each is trusted for `trusted_s`."""
        self._kv = kv
        self._secret = secret
        self._trusted_s = trusted_s
        self._monotonic = monotonic
        self._clock: _Clock | None = None

    def learn_the_time(self, asked_at_s: float, checked_at: datetime) -> None:
        """Note what PostgreSQL's clock showed to who asked at `asked_at_s` of ours."""
        self._clock = _Clock(asked_at_s, checked_at.timestamp())

    def find(self, named: Named, trip: Trip) -> TokenRow | None:
        """Return what a copy says of the session, if one may still be trusted."""
        try:
            found = trip.ask(named.tenant_id, named.subject, named.key)
        except KvDown:
            cache_total.labels("sessions", "bypass").inc()
            return None
        row = self._read(named, found) if isinstance(found, bytes) else None
        cache_total.labels("sessions", "hit" if row else "miss").inc()
        return row

    def keep(self, named: Named, row: TokenRow) -> None:
        """Keep what PostgreSQL has just said of a live session."""
        with suppress(KvDown):
            self._kv.put(named.key, self.written(named, row), self._trusted_s)

    def written(self, named: Named, row: TokenRow) -> bytes:
        """Return the copy: a MAC over its name and what follows, then time and role."""
        text = f"{row.checked_at.timestamp()} {row.role}".encode("ascii")
        return self._mac(named, text) + text

    def _read(self, named: Named, found: bytes) -> TokenRow | None:
        mac, text = found[:MAC_BYTES], found[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(named, text)):
            return None
        checked_s, _, role = text.decode("ascii").partition(" ")
        now_s = self._now_s()
        if now_s is None or not 0 <= now_s - float(checked_s) < self._trusted_s:
            return None
        return TokenRow(
            tenant_active=True,
            key_live=True,
            session_live=True,
            is_fresh=False,  # What asks for that is no read.
            role=role,
            checked_at=datetime.fromtimestamp(now_s, UTC),
        )

    def _now_s(self) -> float | None:
        """Return what PostgreSQL's clock shows now, at most; None: unknown for too long.

        The time that the answer took counts as passed: a copy looks older, never younger.
        """
        clock, now_s = self._clock, self._monotonic()
        if clock is None or now_s - clock.own_s >= self._trusted_s:
            return None
        return clock.shown_s + now_s - clock.own_s

    def _mac(self, named: Named, text: bytes) -> bytes:
        return hmac.digest(self._secret, named.key.encode() + b"\0" + text, "sha256")
