"""Bodies, queries and answers of the endpoints of a move (2.7)."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  # Models read their annotations.
from typing import Annotated, Literal
from uuid import UUID  # noqa: TC003  # Models read their annotations.

from pydantic import ConfigDict, Field

from blueprints.bodies.ops import SchemaHealth  # noqa: TC001  # Models read their annotations.
from blueprints.fields import Answer, Cursor, Limit, Maybe, Model, Text

Domain = Literal["users", "payments"]
Phase = Annotated[int, Field(ge=1, le=5, description="1 legacy only to 5 new only.")]


class MoveBody(Model):
    """A step: from where it is, so that nobody moves it twice, to the phase before or after."""

    from_: Annotated[Phase, Field(alias="from")]
    to: Phase
    reason: Annotated[Text, Field(description="Kept in the audit log.")]


class PageQuery(Model):
    """Which page."""

    limit: Limit = 50
    cursor: Maybe[Cursor] = None


class GateAnswer(Answer):
    """A condition of a move, whether it holds, and the numbers that say so."""

    name: str
    ok: bool
    detail: str


class NextMove(Answer):
    """The step forward, and its gates as they are now."""

    to: int
    gates: list[GateAnswer]


class BackfillAnswer(Answer):
    """How far the backfill is; null: legacy did not say how much there is, or it goes on."""

    rows_done: int
    percent: int | None
    finished_at: datetime | None


class ShadowAnswer(Answer):
    """Shadow reads of this phase."""

    compared: int
    mismatched: int


class LastRun(Answer):
    """The last comparison that came to its end."""

    run_id: UUID
    at: datetime
    clean: bool


class DomainAnswer(Answer):
    """Where a domain stands, and what is still to be done."""

    domain: Domain
    phase: int
    name: str
    since: datetime
    by: str
    truth: Literal["legacy", "new"]
    flag: bool
    flag_conflict: bool
    adapter: str
    writers: Literal["api", "legacy"]
    backlog: int
    lag_s: int
    intents_pending: int
    rejects: int
    backfill: BackfillAnswer
    shadow: ShadowAnswer
    drift: Annotated[LastRun | None, Field(description="Null before the first one.")]
    next: Annotated[NextMove | None, Field(description="Null at the end.")]


class MigrationAnswer(Answer):
    """The schema, and every domain of the tenant that was ever attached."""

    model_config = ConfigDict(serialize_by_alias=True)

    migrations: Annotated[SchemaHealth, Field(alias="schema")]
    domains: list[DomainAnswer]


class MoveAnswer(Answer):
    """A step that was taken; 0 is before it was attached, 6 after it was finished."""

    model_config = ConfigDict(serialize_by_alias=True)

    id: UUID
    domain: Domain
    from_phase: Annotated[int, Field(alias="from")]
    to_phase: Annotated[int, Field(alias="to")]
    at: datetime
    moved_by: Annotated[str, Field(alias="by")]
    reason: str
    gates: list[GateAnswer]
    waived: list[str]
    hold_ms: Annotated[int, Field(description="For how long writers had to wait.")]


class MoveList(Answer):
    """A page of steps, newest first."""

    data: list[MoveAnswer]
    next_cursor: str | None


class RunAnswer(Answer):
    """A comparison of both stores, and what it found."""

    run_id: UUID
    domain: Domain
    level: int
    phase: int
    truth: Literal["legacy", "new"]
    status: Literal["running", "clean", "drift", "failed"]
    rows_truth: int
    rows_follower: int
    missing_in_new: int
    missing_in_legacy: int
    different: int
    unsettled: int
    in_flight: int
    repaired: int
    truncated: bool
    trigger: str
    run_by: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None


class RunList(Answer):
    """A page of comparisons, newest first."""

    data: list[RunAnswer]
    next_cursor: str | None


class ItemAnswer(Answer):
    """A row that differed: in which columns, never with what."""

    entity_id: str
    kind: Literal["missing_in_new", "missing_in_legacy", "different"]
    columns: list[str]
    truth_version: int | None
    follower_version: int | None
    repaired_at: datetime | None


class ItemList(Answer):
    """A comparison with a page of what it found, by legacy id."""

    run: RunAnswer
    data: list[ItemAnswer]
    next_cursor: str | None
