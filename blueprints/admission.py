"""Who a request comes from, and whose quota it is charged to: once, whatever happens (OR2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blueprints.policy import admit
from errors import AppError, FeatureDisabled, RateLimited
from services.rate_limits import FREE

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIEnvironment

    from blueprints.edge import Operation
    from blueprints.exchange import Exchange
    from services import Services
    from services.actors import Actor
    from services.rate_limits import Quota

INTERNAL_ERROR = 500
READ_METHODS = frozenset({"GET", "HEAD"})


def of_address(op: Operation, held: Services, environ: WSGIEnvironment) -> Quota:
    """Return the quota of who has not proved yet who it is."""
    if op.cost == "free":
        return FREE
    return held.rate_limits.of_address(environ.get("REMOTE_ADDR", ""))


def charge(held: Services, now: Exchange) -> None:
    """Count the request against who sent it, if that has not been done. Raises RateLimited."""
    held.rate_limits.charge(now.quota or FREE)


def charge_refused(held: Services, now: Exchange, error: AppError) -> None:
    """Count a refused request too, once; not what is our own fault.

    While the database is away nobody can prove who it is: all would be charged to their address.
    """
    if error.status < INTERNAL_ERROR:
        charge(held, now)


def enter(op: Operation, held: Services, environ: WSGIEnvironment, now: Exchange) -> Actor:
    """Prove who asks and whether they may; from here on the request is charged to them."""
    actor = _admitted(op, held, environ, now)
    if actor is not None:
        now.tenant_id, now.actor = actor.tenant_id, actor.subject
        now.session_id = str(actor.session_id) if actor.session_id else None
        if actor.key_id is not None:
            address = environ.get("REMOTE_ADDR", "")
            now.after.append(lambda: held.credentials.touch(actor, address))
        if op.cost != "free" and not _is_known(now, actor):
            writes = environ["REQUEST_METHOD"] not in READ_METHODS
            now.quota = held.rate_limits.of_actor(actor, writes=writes, heavy=op.cost == "heavy")
    if op.switch and not getattr(held.config, op.switch):
        raise FeatureDisabled
    return actor  # type: ignore[return-value]


def _admitted(
    op: Operation, held: Services, environ: WSGIEnvironment, now: Exchange
) -> Actor | None:
    reads = environ["REQUEST_METHOD"] in READ_METHODS and op.cost != "free"
    trip = _Trip(op, held, now) if reads and held.config.session_cache_s else None
    of_address, given = now.quota, environ.get
    try:
        return admit(
            op.policy,
            given("HTTP_AUTHORIZATION"),
            given("HTTP_STRONGROOM_TENANT"),
            given("REMOTE_ADDR", ""),
            held.credentials,
            trip,
        )
    except RateLimited:
        raise
    except AppError:
        if now.quota is not of_address:  # A token that is no good is its address's.
            held.rate_limits.give_back(now.quota or FREE)
            now.quota = of_address
        raise


def _is_known(now: Exchange, actor: Actor) -> bool:
    """Tell whether a trip has named the actor already, and perhaps charged it."""
    return now.quota is not None and now.quota.subject == actor.subject


@dataclass(frozen=True, slots=True)
class _Trip:
    """The one trip to Redis of a user's read: the session's copy, and the quota (OU1)."""

    op: Operation
    held: Services
    now: Exchange

    def ask(self, tenant_id: str, subject: str, key: str) -> object:
        """Charge the request to `subject`, return what is at `key`; raises RateLimited, KvDown."""
        limits = self.held.rate_limits
        self.now.quota = limits.of_reader(tenant_id, subject, heavy=self.op.cost == "heavy")
        return limits.ask(self.now.quota, key)

    def after_answer(self, action: Callable[[], object]) -> None:
        """Do this when the answer has left."""
        self.now.after.append(action)
