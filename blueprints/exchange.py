"""What the layers of one HTTP request know of it, beside the context that every work has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import observability

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.rate_limits import Quota


@dataclass(slots=True)
class Exchange(observability.Context):
    """The context of an HTTP request. `after` runs when the answer has left; it must not raise."""

    route: str | None = None
    use_case: str | None = None
    quota: Quota | None = None
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    queue_ms: float | None = None
    key: str = ""
    key_is_generated: bool = False
    answer_headers: dict[str, str] = field(default_factory=dict)
    after: list[Callable[[], object]] = field(default_factory=list)
    status: int = 0
    bytes_out: int | None = None


def exchange() -> Exchange:
    """Return the exchange of the request that this thread serves."""
    return cast("Exchange", observability.current())
