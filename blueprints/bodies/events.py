"""Query and answer of the event feed (payments page, section 8)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from blueprints.bodies.payments import EventAnswer, EventType
from blueprints.fields import Answer, Cursor, Maybe, Model

Position = Annotated[Cursor, Field(description="`next_after` of your last page.")]


class FeedQuery(Model):
    """Where to read on, and what."""

    after: Annotated[
        Maybe[Position], Field(description="`next_after` of your last page; left out: the start.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most events on a page.")] = 100
    type: Annotated[
        list[EventType],
        Field(default_factory=list, description="Only these; may be repeated."),
    ]


class FeedAnswer(Answer):
    """A page of the feed."""

    data: list[EventAnswer]
    next_after: Annotated[
        str | None,
        Field(description="Keep it, and ask after it: null if there never was an event."),
    ]
    caught_up: Annotated[
        bool, Field(description="True: nothing more now, ask again later. False: ask at once.")
    ]
