"""Keys of a tenant's access tokens: made at first need, rotated, revoked (A43 to A46).

No state is stored and no worker decides one: which key signs and which are published follows from
the rows' times by the database's clock, so all workers change at the same moment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from errors import DatabaseBusy, NotFound
from repos import signing_keys
from services import jws
from services.sealed_keys import SealedKeys

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from config import Config
    from persistence.db import Database
    from repos.signing_keys import RevokedRow, SigningKeyRow
    from services.sealed_keys import NewKey

LEEWAY_S = 5  # Between our clock and those of who verifies our tokens, and for our own.
LOOK_UP_S = 5.0
TENANTS_MAX = 10_000  # Whose key sets a process remembers, about 20 MB.
PUBLISHED = frozenset({"standby", "active", "retired"})
START_TRIES = 6  # Of half a second: a busy machine may be slow to connect.
# For a first key: no key at all is younger than this.
ONLY_IF_NONE_S = 10**10


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """`alg` is for new keys; a token lives `ttl_s`, a published key set `max_age_s`."""

    alg: str
    ttl_s: int
    max_age_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The key that signs now; `now_s` is the database's time in seconds since 1970."""

    kid: str
    alg: str
    private_key: Any
    now_s: int


def signing_keys_of(config: Config, db: Database) -> SigningKeys:
    """Return the signing keys of this installation, for the service and for commands."""
    settings = SigningSettings(
        alg=config.jwt_alg, ttl_s=config.access_token_ttl_s, max_age_s=config.jwks_max_age_s
    )
    return SigningKeys(db, SealedKeys(config.subkeys("signing-kek")), settings)


class SigningKeys:
    """Use cases of signing keys. `subject` is who does it, for the audit log."""

    def __init__(
        self,
        db: Database,
        sealed: SealedKeys,
        settings: SigningSettings,
        new_id: Callable[[], UUID] = uuid7,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds and never jumps."""
        self._db = db
        self._sealed = sealed
        self._settings = settings
        self._new_id = new_id
        self._clock = clock
        # A pure function of sealed bytes, whose result is large work for RSA.
        self._open = lru_cache(maxsize=256)(sealed.open)
        self._lock = Lock()
        self._known: dict[str, dict[str, jws.Key]] = {}
        self._looked: dict[str, float] = {}

    # --- Signing --------------------------------------------------------------------------------

    def signer(self, tenant_id: str, subject: str) -> Signer:
        """Return the key that signs now; a tenant's first is made here (A44). NotFound."""
        with self._db.read() as conn:
            row = signing_keys.get_active(conn, tenant_id=tenant_id)
        if row is None:
            self.rotate(tenant_id, subject, if_older_than_s=ONLY_IF_NONE_S)
            with self._db.read() as conn:
                row = signing_keys.get_active(conn, tenant_id=tenant_id)
        if row is None or row.private_enc is None:
            raise RuntimeError(f"Bug: no key signs for tenant {tenant_id}")
        private = self._open(tenant_id, row.kid, row.private_enc, row.master_key_id)
        return Signer(kid=row.kid, alg=row.alg, private_key=private, now_s=row.now_s)

    # --- Verifying ------------------------------------------------------------------------------

    def verifier(self, tenant_id: str, kid: str) -> jws.Key | None:
        """Return a published key. One that is not known here is looked for once in 5 s (A40).

        That look-up reads all keys of the tenant, so tokens with made-up kids cannot keep a new
        key unknown. A key that is known may be revoked: whoever verifies reads that too (A41).
        """
        key = self._known.get(tenant_id, {}).get(kid)
        if key is not None:
            return key
        with self._lock:  # Who waited finds what the other has read.
            self._look_up(tenant_id)
        return self._known.get(tenant_id, {}).get(kid)

    def _look_up(self, tenant_id: str) -> None:
        now = self._clock()
        if now - self._looked.get(tenant_id, -LOOK_UP_S) < LOOK_UP_S:
            return
        if len(self._looked) >= TENANTS_MAX:
            self._known.clear()
            self._looked.clear()
        rows = self.list_by_tenant(tenant_id)
        found = [jws.read_key(row.public_jwk) for row in rows if row.state in PUBLISHED]
        self._known[tenant_id] = {str(key.kid): key for key in found if key is not None}
        self._looked[tenant_id] = now

    # --- Showing --------------------------------------------------------------------------------

    def list_by_tenant(self, tenant_id: str) -> list[SigningKeyRow]:
        """All keys of a tenant with their states, newest first."""
        keep_s = self._settings.ttl_s + LEEWAY_S + self._settings.max_age_s
        with self._db.read() as conn:
            return signing_keys.list_by_tenant(conn, tenant_id=tenant_id, keep_s=keep_s)

    def published(self, tenant_id: str) -> list[dict[str, Any]]:
        """The public JWKs by which others verify the tenant's tokens, newest first (A43).

        A suspended tenant shows none, as if it were not there (A3).
        """
        rows = self.list_by_tenant(tenant_id)
        return [row.public_jwk for row in rows if row.state in PUBLISHED and row.tenant_active]

    # --- Changing -------------------------------------------------------------------------------

    def rotate(self, tenant_id: str, subject: str, *, if_older_than_s: int = 0) -> str | None:
        """Make the next key and return its kid; None: the newest is younger than asked.

        It is published at once and signs after `max_age_s`, a tenant's first one at once.
        Raises NotFound: no such tenant.
        """
        made = self._sealed.make(tenant_id, self._settings.alg)

        def create() -> str | None:
            with self._db.transaction() as conn:
                self._begin(conn, tenant_id)
                return signing_keys.create(
                    conn,
                    tenant_id=tenant_id,
                    older_than_s=if_older_than_s,
                    lead_s=self._settings.max_age_s,
                    audit_id=self._new_id(),
                    subject=subject,
                    **_columns(made),
                )

        return self._db.rerun(create)

    def is_older(self, tenant_id: str, older_than_s: int) -> bool:
        """Tell whether the tenant has keys and the newest is that old."""
        ages_s = [row.age_s for row in self.list_by_tenant(tenant_id) if row.state in PUBLISHED]
        return bool(ages_s) and min(ages_s) >= older_than_s

    def rotate_if_older(self, tenant_id: str, subject: str, older_than_s: int) -> str | None:
        """Rotate if the newest key is that old; None: it is not, or nobody has needed one yet."""
        if not self.is_older(tenant_id, older_than_s):
            return None
        return self.rotate(tenant_id, subject, if_older_than_s=older_than_s)

    def revoke(
        self, tenant_id: str, kid: str, subject: str, reason: str | None = None
    ) -> RevokedRow:
        """End a key with all tokens that it has signed; if it was in charge, a new one is (A45).

        Twice is harmless. Raises NotFound.
        """
        made = self._sealed.make(tenant_id, self._settings.alg)

        def revoke() -> RevokedRow | None:
            with self._db.transaction() as conn:
                self._begin(conn, tenant_id)
                return signing_keys.revoke(
                    conn,
                    tenant_id=tenant_id,
                    kid=kid,
                    reason=reason,
                    audit_id=self._new_id(),
                    new_audit_id=self._new_id(),
                    subject=subject,
                    **{f"new_{name}": value for name, value in _columns(made).items()},
                )

        row = self._db.rerun(revoke)
        if row is None:
            raise NotFound("The tenant has no such signing key.")
        return row

    def rewrap(self, tenant_id: str) -> int:
        """Seal the tenant's private keys under the first master key; how many there were."""
        first = self._sealed.master_key_id
        with self._db.read() as conn:
            rows = signing_keys.list_sealed(conn, tenant_id=tenant_id, master_key_id=first)
        changed = 0
        for row in rows:
            old = (tenant_id, row.kid, row.private_enc or b"", row.master_key_id)
            again = self._sealed.seal_again(*old)
            with self._db.write() as conn:
                changed += signing_keys.set_private(
                    conn,
                    tenant_id=tenant_id,
                    kid=row.kid,
                    old_master_key_id=row.master_key_id,
                    private_enc=again,
                    master_key_id=first,
                )
        return changed

    def missing_master_keys(self) -> list[str]:
        """Ids of master keys that stored keys name and AUTH_MASTER_KEYS does not have."""
        with self._db.read() as conn:
            named = signing_keys.list_master_keys(conn)
        return [name for name in named if not self._sealed.knows(name)]

    def fault(self) -> str | None:
        """Say why no process may begin to serve: stored keys that it could not open.

        None: nothing, or the database cannot be asked, which readiness tells.
        """
        for _ in range(START_TRIES):
            try:
                missing = self.missing_master_keys()
            except DatabaseBusy:  # The pool has no connection yet; it has waited for one.
                continue
            except Exception:  # noqa: BLE001  # No database, no table: readiness says so.
                return None
            names = ", ".join(missing)
            return f"AUTH_MASTER_KEYS lacks {names}: stored signing keys need it" if names else None
        return None

    @staticmethod
    def _begin(conn: Any, tenant_id: str) -> None:
        if signing_keys.begin(conn, tenant_id=tenant_id) is None:
            raise NotFound("There is no such tenant.")


def _columns(made: NewKey) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__slots__}
