"""A process that does one piece of a move and kills itself at its n-th step, by SIGKILL (MF2).

A step is a statement, a COMMIT or a call of the legacy store: before it, and after it.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

from config import Config
from legacy import backfill, drift
from legacy.parts import Parts, make
from legacy.phases import Ask
from legacy.settings import LegacySettings
from legacy.stores.sqlite import SqliteStore
from persistence.db import Database, DbSettings
from persistence.db_connection import DeadlineConnection

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = 10**9
OF_STORE = (
    "get_many",
    "create",
    "replace",
    "follow",
    "fence",
    "unfence",
    "scan_ids",
    "tail",
    "ack",
)


def opened(environ: dict[str, str]) -> Parts:
    """Return the parts of the move, as `flask legacy` makes them."""
    config = Config.load({"REDIS_URL": "off", "FEATURE_LEDGER_ENABLED": "true", **environ})
    settings = LegacySettings.load(environ)
    url = environ["DATABASE_URL"]
    # Somebody else's transaction, whose process was killed, may take a moment to end.
    db = Database(url, DbSettings(pool_size=2, pool_timeout_ms=30_000, lock_timeout_ms=2_000))
    return make(config, db, settings)


def closed(parts: Parts) -> None:
    parts.links.close()
    parts.db.close()


WORK: dict[str, Callable[[Parts], object]] = {
    "backfill": lambda parts: [
        *parts.backfill.run(backfill.Ask(tenant_id="default", domain="users", batch=5))
    ],
    "mirror": lambda parts: parts.mirror.run_once(),
    "repair": lambda parts: (
        parts.verifier.run(drift.Ask(tenant_id="default", domain="users", by="test", repair=True)),
        parts.mirror.run_once(),
    ),
    "advance": lambda parts: parts.phases.advance(
        Ask(tenant_id="default", domain="users", by="test", reason="test")
    ),
}


def work(name: str, environ: dict[str, str], at: int) -> None:
    """Do a piece of work, up to step `at`."""
    _step_by_step(at)
    WORK[name](opened(environ))
    os._exit(0)


def _step_by_step(at: int) -> None:
    steps = itertools.count(1)

    def step() -> None:
        if next(steps) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **given: Any) -> Any:
            step()
            done = method(*args, **given)
            step()
            return done

        return called

    for owner, names in ((DeadlineConnection, ("send", "commit")), (SqliteStore, OF_STORE)):
        for name in names:
            setattr(owner, name, stepping(getattr(owner, name)))
