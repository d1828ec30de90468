"""The status is a pure function of the amounts, and SQL and Python agree on it (section 3)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import psycopg

from services.payment_states import COUNTERS, allowed_actions, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4
REASONS = (None, "cancelled", "failed", "expired", "voided")


def reachable() -> Iterator[dict[str, Any]]:
    """Yield every tuple of amounts up to 4 that the constraints of `payments` let in."""
    sizes = range(MOST + 1)
    for authorized, captured, voided in itertools.product(sizes, repeat=3):
        if captured + voided > authorized:
            continue
        for refunded, disputed, charged_back in itertools.product(sizes, repeat=3):
            if refunded + disputed + charged_back > captured:
                continue
            for end_reason in REASONS:
                yield {
                    "authorized": authorized,
                    "captured": captured,
                    "voided": voided,
                    "refunded": refunded,
                    "disputed": disputed,
                    "charged_back": charged_back,
                    "end_reason": end_reason,
                }


def test_sql_and_python_agree_on_every_status(database: str) -> None:
    """Every reachable tuple of amounts up to 4: no difference."""
    cases = list(reachable())
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT payment_status_of(a, c, v, r, d, b, e::text::payment_end_reason)::text"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],"
            " %s::bigint[], %s::text[]) WITH ORDINALITY AS t (a, c, v, r, d, b, e, n) ORDER BY n",
            [[case[name] for case in cases] for name in cases[0]],
        ).fetchall()
    assert [status for (status,) in rows] == [status_of(**case) for case in cases]


def test_an_end_reason_stands_only_where_nothing_was_captured(database: str) -> None:
    """P6: the database's own rule, over every reachable tuple."""
    cases = [case for case in reachable() if not case["refunded"] + case["disputed"]]
    with psycopg.connect(database) as conn:
        for case in cases:
            fits = conn.execute(
                "SELECT payment_end_reason_fits(%s, %s, %s, %s::payment_end_reason)",
                [case["authorized"], case["captured"], case["voided"], case["end_reason"]],
            ).fetchone()
            assert fits == (_end_reason_fits(case),), case


def _end_reason_fits(case: dict[str, Any]) -> bool:
    if case["authorized"] == 0:
        return case["end_reason"] in {None, "cancelled", "failed"}
    if case["captured"] == 0 and case["voided"] == case["authorized"]:
        return case["end_reason"] in {"expired", "voided"}
    return case["end_reason"] is None


AMOUNTS = dict.fromkeys(COUNTERS, 0)


def test_allowed_actions_know_row_and_clock() -> None:
    """P42."""
    row = {**AMOUNTS, "status": "authorized", "authorized_minor": 5}
    assert allowed_actions({**row, "overdue": False}) == ["capture", "void"]
    assert allowed_actions({**row, "overdue": True}) == ["void"]
    assert allowed_actions({**row, "captured_minor": 2}) == ["capture", "void", "refund", "dispute"]
    assert allowed_actions({**row, "captured_minor": 5}) == ["refund", "dispute"]
    assert allowed_actions({**row, "captured_minor": 5, "refunded_minor": 5}) == []
    assert allowed_actions({**AMOUNTS, "status": "created"})[0] == "authorize"
    assert allowed_actions({**AMOUNTS, "status": "failed"}) == []
