"""Idempotency: one key, one effect, one answer (rules K1 to K12 of the payments page).

The primary key of `idempotency_keys` decides, inside the statement that has the effect. Redis
only says earlier that a request is running, and repeats a committed answer sooner.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from errors import (
    AppError,
    Contention,
    DuplicateReference,
    IdempotencyInProgress,
    IdempotencyKeyCancelled,
    IdempotencyKeyReused,
    RateLimited,
)
from observability import idempotency_total
from persistence.kv import KvDown
from repos import idempotency as keys
from services.rate_limits import FREE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from persistence.db import Conn, Database
    from persistence.kv import Kv
    from repos.idempotency import DoneRow, KeyRow
    from services.rate_limits import Quota, RateLimits

# A statement that gave no row, and no reason when asked why, met a change in between: once more.
TRIES = 3
POLL_S = 0.02
MARK, COPY = b"m", b"c"
MAC_BYTES = 32
CANONICAL = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
DRAFT = "https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a keyed request claims. `generated`: the client sent no key, so nobody can repeat it.

    `quota` is charged in the trip that sets the mark. `operation` is method and path with its ids;
    `fingerprint` is 32 bytes (K5), of `content`: the query's pairs and the body's document.
    """

    tenant_id: str
    scope: str
    key: str
    operation: str
    fingerprint: bytes
    fingerprint_version: int
    request_id: str
    generated: bool = False
    content: tuple[list[tuple[str, str]], Any] = field(default=([], {}))
    quota: Quota = FREE

    def is_of(self, stored: KeyRow) -> bool:
        """Tell whether this is the request that was stored, by that row's fingerprint.

        One of a later release, which this one cannot compute, passes: to repeat an answer moves
        nothing, and a refusal would have the client pay again under another key.
        """
        if stored.fingerprint_version == self.fingerprint_version:
            return stored.fingerprint == self.fingerprint
        made = FINGERPRINTS.get(stored.fingerprint_version)
        return made is None or stored.fingerprint == made(*self.content)

    @property
    def hint(self) -> str:
        """The name of its mark and copy in Redis."""
        return f"idem:{{{self.tenant_id}/{self.scope}}}:{self.key}"


@dataclass(slots=True, kw_only=True)
class Answer:
    """The answer of a keyed request as data: rendered by the same code first and repeated.

    `settle` tells Redis; call it when the answer has left.
    """

    status: int
    data: dict[str, Any]
    replayed: bool
    settle: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencySettings:
    """Times: of the mark, of the wait for another's request, of the copy."""

    mark_ttl_ms: int = 2_000
    wait_ms: int = 1_000
    redis_ttl_s: int = 86_400


F = TypeVar("F")


def _canonical_json(query: list[tuple[str, str]], document: object) -> bytes:
    """Version 1: sorted query and body, names by code point, no spaces, integers as written."""
    canonical = CANONICAL([1, sorted(query), document])
    return sha256(canonical.encode("utf-8", "surrogatepass")).digest()


# A stored key is compared by the version that it was stored with, so old ones stay (K5).
FINGERPRINTS: dict[int, Callable[[list[tuple[str, str]], object], bytes]] = {1: _canonical_json}
FINGERPRINT_VERSION = max(FINGERPRINTS)


def fingerprint(query: list[tuple[str, str]], document: object) -> bytes:
    """Return what tells requests with one key apart: SHA-256 of query and body, by meaning."""
    return FINGERPRINTS[FINGERPRINT_VERSION](query, document)


class Idempotency:
    """Runs keyed use cases so that each key has one effect."""

    def __init__(
        self,
        db: Database,
        kv: Kv,
        limits: RateLimits,
        settings: IdempotencySettings,
        secret: bytes,
    ) -> None:
        """`secret` signs the copies in Redis: what somebody else puts there is not repeated."""
        self._db = db
        self._kv = kv
        self._limits = limits
        self._settings = settings
        self._secret = secret

    def run(
        self,
        claim: Claim,
        fault: AppError | None,
        *,
        send: Callable[[Conn], DoneRow | None],
        explain: Callable[[Conn], F],
        refuse: Callable[[F], AppError | None],
        status: int,
        tries: int = TRIES,
    ) -> Answer:
        """Run a use case under its key, or repeat its answer.

        `send` runs the statement that claims the key; no row: nothing happened. Then `explain`
        reads why, and `refuse` names it; None: the reason has gone, `send` runs again. `fault` is
        what is wrong with the request itself; it is raised only once the key is known to be new.
        Raises what `refuse` returns, and the problems about keys.
        """
        mark = self._ask(claim)
        if isinstance(mark, Answer):
            return mark
        try:
            if fault is not None:
                answer, expires_at = self._repeat_or_raise(claim, fault)
            else:
                answer, expires_at = self._decide(claim, send, explain, refuse, status, tries)
        except BaseException:
            self._release(claim, mark)
            raise
        _count(answer, "postgresql")
        answer.settle = partial(self._keep, claim, answer, expires_at)
        return answer

    def find(self, tenant_id: str, scope: str, key: str) -> tuple[KeyRow | None, bool]:
        """Return what is stored under a key, and whether its first request seems to run (K8)."""
        with self._db.read() as conn:
            row = keys.get(conn, tenant_id=tenant_id, scope=scope, key=key)
        hint = f"idem:{{{tenant_id}/{scope}}}:{key}"
        return row, row is None and (self._peek(hint) or b"").startswith(MARK)

    # --- PostgreSQL decides ---------------------------------------------------------------------

    def _decide(
        self,
        claim: Claim,
        send: Callable[[Conn], DoneRow | None],
        explain: Callable[[Conn], F],
        refuse: Callable[[F], AppError | None],
        status: int,
        tries: int,
    ) -> tuple[Answer, datetime]:
        for _ in range(tries):
            row = self._send(send)
            if row is not None:
                return Answer(status=status, data=row.answer, replayed=False), row.expires_at
            with self._db.read() as conn:
                facts = explain(conn)
                stored = self._stored(conn, claim)
            if stored is not None:  # Read after the facts: a twin may have been faster.
                return replay(claim, stored), stored.expires_at
            error = refuse(facts)
            if error is not None:
                raise error
        raise Contention(headers={"Retry-After": "1"})

    def _send(self, send: Callable[[Conn], DoneRow | None]) -> DoneRow | None:
        """Run the statement. A used reference undoes it as if it had given no row (P22)."""
        try:
            with self._db.write() as conn:
                return send(conn)
        except DuplicateReference:
            return None

    def _repeat_or_raise(self, claim: Claim, fault: AppError) -> tuple[Answer, datetime]:
        """K1: a body that today's rules refuse may have been fine when its key was stored."""
        with self._db.read() as conn:
            stored = self._stored(conn, claim)
        if stored is None:
            raise fault
        return replay(claim, stored), stored.expires_at

    @staticmethod
    def _stored(conn: Conn, claim: Claim) -> KeyRow | None:
        return keys.get(conn, tenant_id=claim.tenant_id, scope=claim.scope, key=claim.key)

    # --- Redis hints ----------------------------------------------------------------------------

    def _ask(self, claim: Claim) -> Answer | bytes | None:
        """Return a committed answer, or the mark that was set, or None: Redis does not help.

        Charges the request too, in the same trip; raises RateLimited.
        """
        if claim.generated:
            self._limits.charge(claim.quota)
            return None
        mark = MARK + secrets.token_bytes(16)
        command = self._kv.claim_command(claim.hint, mark, self._settings.mark_ttl_ms)
        try:
            (found,) = self._limits.charge(claim.quota, command)
            if not isinstance(found, bytes):
                return mark
            if found.startswith(MARK):
                found = self._wait(claim)
        except KvDown:
            return None
        except RateLimited:
            self._release(claim, mark)  # The next try must not wait for this one.
            raise
        answer = self._read_copy(claim, found)
        if answer is not None:
            _count(answer, "redis")
        return answer

    def _wait(self, claim: Claim) -> bytes | None:
        """Wait for another's request with this key: its copy, or None if its mark went away."""
        until = time.monotonic() + self._settings.wait_ms / 1000
        while True:
            found = self._kv.get(claim.hint)
            if found is None or found.startswith(COPY):
                return found
            if time.monotonic() >= until:
                raise IdempotencyInProgress(
                    headers={"Retry-After": "1"}, **about(claim, "2.6", safe_new_key=False)
                )
            time.sleep(POLL_S)

    def _keep(self, claim: Claim, answer: Answer, expires_at: datetime) -> None:
        """Put a committed answer over the mark, with what it belongs to and a MAC (K7)."""
        if claim.generated:
            return
        copy = json.dumps(
            [
                claim.operation,
                claim.fingerprint.hex(),
                answer.status,
                answer.data,
                expires_at.timestamp(),
            ]
        ).encode()
        ttl_s = min(self._settings.redis_ttl_s, int(expires_at.timestamp() - time.time()))
        try:
            self._kv.put(claim.hint, COPY + self._mac(claim, copy) + copy, ttl_s)
        except KvDown:
            return

    def _read_copy(self, claim: Claim, found: bytes | None) -> Answer | None:
        """Return the answer of a copy; None for what is missing, forged, old or of another request.

        Another request under this key is for PostgreSQL to refuse.
        """
        if found is None or not found.startswith(COPY):
            return None
        mac, copy = found[1 : 1 + MAC_BYTES], found[1 + MAC_BYTES :]
        if not hmac.compare_digest(mac, self._mac(claim, copy)):
            return None
        operation, stored_fingerprint, status, data, expires = json.loads(copy)
        mine = (claim.operation, claim.fingerprint.hex())
        if (operation, stored_fingerprint) != mine or expires <= time.time():
            return None
        return Answer(status=status, data=data, replayed=True)

    def _mac(self, claim: Claim, copy: bytes) -> bytes:
        return hmac.digest(self._secret, claim.hint.encode() + b"\0" + copy, "sha256")

    def _peek(self, hint: str) -> bytes | None:
        try:
            return self._kv.get(hint)
        except KvDown:
            return None

    def _release(self, claim: Claim, mark: bytes | None) -> None:
        if mark is None:
            return
        try:
            self._kv.release(claim.hint, mark)
        except KvDown:
            return


def replay(claim: Claim, stored: KeyRow) -> Answer:
    """Return the stored answer; raises if the key was cancelled or belongs to another request."""
    if stored.kind == "cancelled":
        raise IdempotencyKeyCancelled(**about(claim, "2.6", safe_new_key=True))
    if stored.operation != claim.operation:
        raise IdempotencyKeyReused(differs=["operation"], **about(claim, "2.2", safe_new_key=True))
    if not claim.is_of(stored):
        raise IdempotencyKeyReused(differs=["request"], **about(claim, "2.2", safe_new_key=True))
    if stored.status is None or stored.answer is None:
        raise RuntimeError(f"Bug: a completed key without an answer: {claim.operation}")
    return Answer(status=stored.status, data=stored.answer, replayed=True)


def about(claim: Claim, section: str, *, safe_new_key: bool) -> dict[str, Any]:
    """Return the members that problems about keys have (K4)."""
    return {
        "idempotency_key": claim.key,
        "see": f"{DRAFT}#section-{section}",
        "safe_new_key": safe_new_key,
    }


def _count(answer: Answer, source: str) -> None:
    idempotency_total.labels("replayed" if answer.replayed else "stored", source).inc()
