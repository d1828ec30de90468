"""API keys: made, proved on every request, and ended (A9 to A12)."""

from __future__ import annotations

import time
from hmac import compare_digest
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import (
    ApiKeyEnded,
    ApiKeyInvalid,
    AppError,
    IpNotAllowed,
    NotFound,
    ScopeNotGrantable,
    TenantSuspended,
    ValidationFailed,
)
from observability import current, log
from repos import api_keys, tenants
from services.actors import GRANTABLE, Actor
from services.api_key_texts import read_key, write_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from uuid import UUID

    from errors import Fault
    from persistence.db import Database
    from repos.api_keys import KeyRow

OVERLAP_S, OVERLAP_MAX_S = 86_400, 604_800
TOUCH_S = 60.0
TOUCHED_MAX = 10_000  # Keys remembered as touched, about 2 MB.


class ApiKeys:
    """Use cases of API keys. `subject` is who does it, `clock` counts seconds and never jumps."""

    def __init__(
        self,
        db: Database,
        new_id: Callable[[], UUID] = uuid7,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._new_id = new_id
        self._clock = clock
        self._touched: dict[tuple[str, str], float] = {}

    def authenticate(self, bearer: str, address: str) -> Actor:
        """Prove, by one read of the primary, that the key is alive now.

        ApiKeyInvalid: malformed, unknown, expired or revoked; TenantSuspended; IpNotAllowed.
        """
        tenant_id, key_id, digest = read_key(bearer)
        with self._db.read() as conn:
            row = api_keys.authenticate(conn, tenant_id=tenant_id, key_id=key_id)
        if row is None or not compare_digest(row.key_hash, digest):
            raise ApiKeyInvalid
        if not row.tenant_active:
            raise TenantSuspended
        if row.allowed_cidrs is not None and not _within(address, row.allowed_cidrs):
            raise IpNotAllowed
        return Actor(tenant_id, row.subject, frozenset(row.scopes), key_id=key_id)

    def touch(self, actor: Actor, address: str) -> None:
        """Note that the key was used, once a minute at most; for after the answer, never fails."""
        if actor.key_id is None:
            return
        now = self._clock()
        key = (actor.tenant_id, actor.key_id)
        if now - self._touched.get(key, -TOUCH_S) < TOUCH_S:
            return
        if len(self._touched) >= TOUCHED_MAX:
            self._touched.clear()
        self._touched[key] = now
        try:
            with self._db.write() as conn:
                api_keys.touch(
                    conn,
                    tenant_id=actor.tenant_id,
                    key_id=actor.key_id,
                    address=as_inet(address),
                )
        except AppError as error:
            log.warning("api_key.not_touched", code=error.code)

    def create(
        self,
        tenant_id: str,
        name: str,
        scopes: Sequence[str],
        subject: str,
        *,
        allowed_cidrs: Sequence[IPv4Network | IPv6Network] = (),
        expires_at: datetime | None = None,
        address: str | None = None,
    ) -> tuple[KeyRow, str]:
        """Make a key; its text is returned here and nowhere again. No `allowed_cidrs`: anywhere.

        ScopeNotGrantable; ValidationFailed: the expiry has passed; NotFound: no such tenant.
        """
        _refuse_ungrantable(scopes)
        bearer = write_key(tenant_id)
        _, key_id, digest = read_key(bearer)
        with self._db.write() as conn:
            row = api_keys.create(
                conn,
                tenant_id=tenant_id,
                key_id=key_id,
                principal_id=self._new_id(),
                name=name,
                key_hash=digest,
                scopes=sorted(set(scopes)),
                allowed_cidrs=[str(each) for each in allowed_cidrs] or None,
                expires_at=expires_at,
                **self._by(subject, address),
            )
        if row is None:
            raise self._why_not(tenant_id)
        return row, bearer

    def _why_not(self, tenant_id: str) -> AppError:
        with self._db.read() as conn:
            tenant = tenants.get(conn, tenant_id=tenant_id)
        if tenant is None:
            return NotFound("There is no such tenant.")
        fault: Fault = {
            "pointer": "/expires_at",
            "code": "not_in_the_future",
            "detail": "The expiry must be later than now.",
        }
        return ValidationFailed(errors=(fault,))

    def list_by_tenant(self, tenant_id: str) -> list[KeyRow]:
        """All keys of a tenant, ended ones too, oldest first."""
        with self._db.read() as conn:
            return api_keys.list_by_tenant(conn, tenant_id=tenant_id)

    def get(self, tenant_id: str, key_id: str) -> KeyRow:
        """Return a key, an ended one too; NotFound."""
        with self._db.read() as conn:
            row = api_keys.get(conn, tenant_id=tenant_id, key_id=key_id)
        if row is None:
            raise NotFound("The tenant has no such API key.")
        return row

    def rotate(
        self,
        tenant_id: str,
        key_id: str,
        subject: str,
        *,
        overlap_s: int = OVERLAP_S,
        address: str | None = None,
    ) -> tuple[KeyRow, str]:
        """Make a successor of a live key, whose text is returned here and nowhere again (A11).

        The old key ends in `overlap_s`, or earlier if it was to. NotFound; ApiKeyEnded: it has
        ended already, or has a successor.
        """
        bearer = write_key(tenant_id)
        _, new_key_id, digest = read_key(bearer)
        with self._db.write() as conn:
            row = api_keys.rotate(
                conn,
                tenant_id=tenant_id,
                key_id=key_id,
                new_key_id=new_key_id,
                new_key_hash=digest,
                overlap_s=overlap_s,
                **self._by(subject, address),
            )
        if row is None:
            self.get(tenant_id, key_id)
            raise ApiKeyEnded
        return row, bearer

    def revoke(
        self,
        tenant_id: str,
        key_id: str,
        subject: str,
        reason: str | None = None,
        address: str | None = None,
    ) -> KeyRow:
        """End a key: no request that starts after this is served. Twice is harmless; NotFound."""
        with self._db.write() as conn:
            row = api_keys.revoke(
                conn,
                tenant_id=tenant_id,
                key_id=key_id,
                reason=reason,
                **self._by(subject, address),
            )
        if row is None:
            raise NotFound("The tenant has no such API key.")
        return row

    def _by(self, subject: str, address: str | None) -> dict[str, Any]:
        """Return what the audit row of a change says of who made it."""
        return {
            "audit_id": self._new_id(),
            "subject": subject,
            "address": None if address is None else as_inet(address),
            "request_id": current().request_id,
        }


def _refuse_ungrantable(scopes: Sequence[str]) -> None:
    faults: list[Fault] = [
        {
            "pointer": f"/scopes/{place}",
            "code": ScopeNotGrantable.code,
            "detail": "Not a scope that an API key can hold.",
        }
        for place, scope in enumerate(scopes)
        if scope not in GRANTABLE
    ]
    if faults or not scopes:
        raise ScopeNotGrantable(errors=tuple(faults))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:  # A Unix socket's client has none.
        return None
    # A socket that listens on both families shows an IPv4 client so; the list names it as IPv4.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _within(address: str, networks: list[str]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in ip_network(each) for each in networks)


def as_inet(address: str) -> str | None:
    """Write an address for PostgreSQL, which knows no zones (fe80::1%eth0)."""
    parsed = _parsed(address)
    return str(parsed).partition("%")[0] if parsed else None
