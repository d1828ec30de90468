"""Answers about the process itself (operations page, section 6): never a host, a DSN, a secret."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from blueprints.fields import Answer, Maybe, Status


class Live(Answer):
    """The process answers."""

    status: Literal["pass"]


class Ready(Answer):
    """Whether requests may be sent here: with `fail` none."""

    status: Status
    checks: dict[str, Status]


class PoolHealth(Answer):
    """The pool of connections to the database."""

    size: int
    available: int
    waiting: int


class DatabaseHealth(Answer):
    """The database, as this process sees it; null is what it could not see."""

    version: str | None
    in_recovery: bool | None
    epoch: int | None
    latency_ms: float | None
    clock_skew_ms: float | None
    pool: PoolHealth


class SchemaHealth(Answer):
    """The schema against the migrations of this release."""

    head: int
    required: int
    pending: list[str]
    changed: list[str]


class RedisHealth(Answer):
    """Redis or Valkey, and the breaker before it."""

    mode: str
    state: str
    failures: int
    retry_in_ms: int
    latency_ms: float | None


class LedgerHealth(Answer):
    """All books together: the oldest posting without a seal, and the last whole checks."""

    sealed_through: str | None
    seal_lag_s: float
    verified_at: str | None
    verified_ok: bool


class JobHealth(Answer):
    """A job, and when it last did its work."""

    job: str
    outcome: str | None
    last_success_at: str | None
    late: bool


class Health(Answer):
    """Everything that an operator asks first. Those who may not know get `status` alone."""

    # What is installed beside the service tells of itself in members of its own.
    model_config = ConfigDict(serialize_by_alias=True, extra="allow")

    status: Status
    version: Maybe[str] = None
    commit: Annotated[str | None, Field(description="Null where nobody has said it.")] = None
    environment: Maybe[str] = None
    started_at: Maybe[str] = None
    checks: Maybe[dict[str, Status]] = None
    reasons: Maybe[dict[str, str]] = None
    database: Maybe[DatabaseHealth] = None
    migrations: Annotated[
        SchemaHealth | None, Field(alias="schema", description="Null if it could not be seen.")
    ] = None  # pydantic's models have a `schema` of their own.
    redis: Maybe[RedisHealth] = None
    flags: Maybe[dict[str, bool]] = None
    ledger: Annotated[LedgerHealth | None, Field(description="Null if it could not be seen.")] = (
        None
    )
    jobs: Maybe[list[JobHealth]] = None
