"""Bringing people over before they are asked for anything: sessions point to rows here (D15).

While legacy decides about users, whoever logs in, renews a session or changes something is first
brought to what legacy says of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from errors import AppError
from legacy.apply import apply
from legacy.merging import NotApplied
from legacy.password_twins import keeps_hash
from legacy.rows import mirrored_users, phases
from legacy.store import RowRejected
from legacy.truth import reached
from observability import log
from repos import users
from services.users import normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from legacy.mirror import Scope
    from legacy.store import StoreRow
    from legacy.truth import Truth
    from services.refresh_tokens import RefreshTokens


class People:
    """Brings users of legacy to new."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def bring(self, tenant_id: str, *, email: str | None = None, user_id: Any = None) -> bool:
        """Apply what legacy says of a user; False: it does not decide about users. LegacyDown."""
        scope = self._truth.legacy(tenant_id, "users")
        if scope is not None:
            self.bring_in(scope, email=email, user_id=user_id)
        return scope is not None

    def bring_in(
        self, scope: Scope, *, email: str | None = None, user_id: Any = None
    ) -> dict[str, StoreRow]:
        """Apply it, and return the rows of legacy by their ids. LegacyDown."""
        known = [*self._known(scope, email, user_id)]
        with reached():
            found = [(each, _read(scope, each)) for each in known]
            named = None if email is None else _find(scope, email)
        if named is not None and named.id not in known:
            found.append((named.id, named))
        for legacy_id, row in found:  # Who had an address before gives it up first.
            self._apply(scope, legacy_id, row)
        return {legacy_id: row for legacy_id, row in found if row is not None}

    def _known(self, scope: Scope, email: str | None, user_id: UUID | None) -> list[str]:
        """Return the legacy ids of whom new knows by these."""
        tenant_id = scope.state.tenant_id
        with self._truth.db.read() as conn:
            ids = [] if user_id is None else [user_id]
            if email is not None and (norm := _normalised(email)) is not None:
                owner = users.get_by_email(conn, tenant_id=tenant_id, email_norm=norm)
                ids += [] if owner is None else [owner.id]
            rows = mirrored_users.read(conn, tenant_id=tenant_id, legacy_ids=[], user_ids=ids)
        return [row.legacy_id for row in rows if row.legacy_id is not None]

    def _apply(self, scope: Scope, legacy_id: str, row: StoreRow | None) -> None:
        try:
            with self._truth.db.transaction() as conn:
                phases.begin_mirror(conn)
                apply(conn, scope.target, legacy_id, row)
        except NotApplied as error:
            # Whoever new knows by this address may go on; the mirror says what is wrong.
            log.warning("legacy.not_brought", legacy_id=legacy_id, code=error.code)

    def of_session(self, tokens: RefreshTokens, text: str) -> None:
        """Bring the user of a refresh token, if it is one."""
        token = tokens.read(text)
        if token is None:
            return
        with self._truth.db.read() as conn:
            user_id = mirrored_users.get_of_session(
                conn, tenant_id=token.tenant_id, session_id=token.session_id
            )
        if user_id is not None:
            self.bring(token.tenant_id, user_id=user_id)


def _read(scope: Scope, legacy_id: str) -> StoreRow | None:
    """Return a row of legacy; None: it is gone, or breaks our rules and stays as it is here."""
    return scope.link.store.get_many([legacy_id]).get(legacy_id)


def _find(scope: Scope, email: str) -> StoreRow | None:
    try:
        return scope.link.store.find("email", email)
    except RowRejected:
        return None


def _normalised(email: str) -> str | None:
    try:
        return normalise_email(email)
    except AppError:  # Who asks is told so by the service.
        return None


class Brought:
    """A service whose methods are about one user, who is brought over before each (D15)."""

    def __init__(
        self, inner: Any, people: People, **of: Callable[..., tuple[str, dict[str, Any]]]
    ) -> None:
        """`of`: by method, what says from its arguments who it is about: tenant, and which user."""
        self._inner = inner
        self._people = people
        self._of = of

    def __getattr__(self, name: str) -> Any:
        """Return a method."""
        method = getattr(self._inner, name)
        return partial(self._run, method, self._of[name]) if name in self._of else method

    def _run(
        self, method: Callable[..., Any], of: Callable[..., Any], *args: Any, **given: Any
    ) -> Any:
        tenant_id, named = of(*args)
        if not self._people.bring(tenant_id, **named):
            return method(*args, **given)
        with keeps_hash():
            return method(*args, **given)


def by_id(tenant_id: str, user_id: Any, *_: Any) -> tuple[str, dict[str, Any]]:
    """Say who a method is about that is told an id."""
    return tenant_id, {"user_id": user_id}


def by_ask(tenant_id: str, ask: Any, *_: Any) -> tuple[str, dict[str, Any]]:
    """Say who a method is about that is told an address in an object."""
    return tenant_id, {"email": ask.email}


def by_email(tenant_id: str, email: Any, *_: Any) -> tuple[str, dict[str, Any]]:
    """Say who a method is about that is told an address."""
    return tenant_id, {"email": email}


class BroughtSessions:
    """Sessions, whose users are brought over before they are renewed."""

    def __init__(self, inner: Any, people: People, tokens: RefreshTokens) -> None:
        self._inner = inner
        self._people = people
        self._tokens = tokens

    def __getattr__(self, name: str) -> Any:
        """Return what is not wrapped."""
        return getattr(self._inner, name)

    def refresh(self, text: str, *args: Any) -> Any:
        """As Sessions.refresh; LegacyDown."""
        self._people.of_session(self._tokens, text)
        return self._inner.refresh(text, *args)
