"""What a database fault means: the error table of architecture.md as data, read by SQLSTATE.

Handles look a fault up here to learn how often a statement is sent again and what to raise then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

import psycopg

from errors import (
    AmountOverflow,
    AppError,
    Contention,
    DatabaseUnavailable,
    DeadlineExceeded,
    OutcomeUnknown,
    constraint_error,
)

# AF3: every 503 says when to come back.
RETRY_AFTER = {"Retry-After": "1"}


class DeadlinePassed(psycopg.OperationalError):
    """The request's deadline passed; `sent` says whether the server may have got the statement."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent
        super().__init__("the deadline of this request has passed")


class OwnerNeeded(AppError):
    """The database role may not do this: use that of the tables' owner (MIGRATE_DATABASE_URL)."""


class Trouble(Enum):
    """A row of the error table; the value of each is the label of `db_retries_total`."""

    REFUSED = "refused"
    LOST = "lost"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    CONFLICT = "conflict"
    LOCKED = "locked"
    STALE_PLAN = "stale_plan"


class Mode(Enum):
    """Which column of the error table holds: what is lost if the answer is."""

    READ = auto()
    WRITE = auto()
    KEYED_WRITE = auto()
    TRANSACTION = auto()
    COMMIT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How often a statement is sent again after a trouble, and what it is called in the end.

    `drop`: not on this connection. `error` None: the database's own error, a 500, is raised.
    """

    error: type[AppError] | None
    again: int = 0
    drop: bool = False


_READ = {
    Trouble.REFUSED: Rule(error=DatabaseUnavailable, again=1, drop=True),
    Trouble.LOST: Rule(error=DatabaseUnavailable, again=1, drop=True),
    Trouble.DEADLINE: Rule(error=DeadlineExceeded),
    Trouble.CANCELLED: Rule(error=DeadlineExceeded),
    Trouble.CONFLICT: Rule(error=Contention, again=3),
    Trouble.LOCKED: Rule(error=Contention),
    Trouble.STALE_PLAN: Rule(error=None, again=1, drop=True),
}
_WRITE = _READ | {
    Trouble.REFUSED: Rule(error=DatabaseUnavailable, drop=True),
    Trouble.LOST: Rule(error=OutcomeUnknown, drop=True),
    Trouble.DEADLINE: Rule(error=OutcomeUnknown),
}
# Inside a transaction nothing is committed yet, and a statement alone cannot be sent again.
_TRANSACTION = {trouble: Rule(error=rule.error, drop=rule.drop) for trouble, rule in _READ.items()}
RULES = {
    Mode.READ: _READ,
    Mode.WRITE: _WRITE,
    Mode.KEYED_WRITE: _WRITE | {Trouble.LOST: Rule(error=OutcomeUnknown, again=1, drop=True)},
    Mode.TRANSACTION: _TRANSACTION,
    Mode.COMMIT: _TRANSACTION
    | {
        Trouble.LOST: Rule(error=OutcomeUnknown, drop=True),
        Trouble.DEADLINE: Rule(error=OutcomeUnknown),
    },
}

_BY_STATE = {
    "0A000": Trouble.STALE_PLAN,
    "25006": Trouble.REFUSED,
    # The server ended a transaction that was idle or open for too long: it is rolled back.
    "25P03": Trouble.CANCELLED,
    "25P04": Trouble.CANCELLED,
    "40001": Trouble.CONFLICT,
    "40P01": Trouble.CONFLICT,
    "55P03": Trouble.LOCKED,
    "57014": Trouble.CANCELLED,
}
_BY_CLASS = {
    "08": Trouble.LOST,
    "53": Trouble.REFUSED,
    "57": Trouble.LOST,
    "58": Trouble.LOST,
    "XX": Trouble.LOST,
}


def trouble_of(exc: psycopg.Error) -> Trouble | None:
    """Return the row of the error table, or None: a constraint, or a bug."""
    if isinstance(exc, DeadlinePassed):
        return Trouble.DEADLINE if exc.sent else Trouble.CANCELLED
    if exc.sqlstate is None:
        # Without a SQLSTATE the server said nothing: the connection broke.
        return Trouble.LOST if isinstance(exc, psycopg.OperationalError) else None
    return _BY_STATE.get(exc.sqlstate) or _BY_CLASS.get(exc.sqlstate[:2])


# What a SQLSTATE means that is no constraint's; a package that brings triggers may add its own.
REFUSALS: dict[str, type[AppError]] = {"22003": AmountOverflow, "42501": OwnerNeeded}


# A wait for a lock that ended inside of this function of the database is called by this name; a
# package that brings triggers may add its own.
WAITS: dict[str, type[AppError]] = {}


def rule_of(mode: Mode, trouble: Trouble, exc: psycopg.Error) -> Rule:
    """Return what the error table says of a trouble."""
    rule = RULES[mode][trouble]
    if trouble is Trouble.LOCKED:
        within = exc.diag.context or ""
        named = (error for function, error in WAITS.items() if f"{function}()" in within)
        return replace(rule, error=next(named, rule.error))
    return rule


def refusal(exc: psycopg.Error) -> type[AppError] | None:
    """Return what a refused value means to the caller: an error with a code, or None, a bug."""
    state = exc.sqlstate or ""
    if state.startswith("23"):
        return constraint_error(exc.diag.constraint_name)
    return REFUSALS.get(state)
