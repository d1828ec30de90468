"""The status is a pure function of the amounts, and SQL and Python agree on it (section 3)."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import psycopg

from services.payment_states import COUNTERS, allowed_actions, status_of
from tests.payment_model import ModelPayment

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4
REASONS = (None, "cancelled", "failed", "expired", "voided")
AMOUNT_NAMES = ("authorized", "captured", "voided", "refunded", "disputed", "charged_back")
STATUSES = [
    *("created", "authorized", "partially_captured", "captured", "voided", "expired"),
    *("cancelled", "failed", "partially_refunded", "refunded", "disputed"),
    *("partially_charged_back", "charged_back"),
]


def tuples() -> Iterator[dict[str, Any]]:
    """Yield every tuple of amounts up to 4, sensible or not, with every end reason."""
    for amounts in itertools.product(range(MOST + 1), repeat=len(AMOUNT_NAMES)):
        for end_reason in REASONS:
            yield {**dict(zip(AMOUNT_NAMES, amounts, strict=True)), "end_reason": end_reason}


def fits(case: dict[str, Any]) -> bool:
    """P6, in Python: no amount is more than what it is taken from, and the end has its reason."""
    if case["captured"] + case["voided"] > case["authorized"]:
        return False
    if case["refunded"] + case["disputed"] + case["charged_back"] > case["captured"]:
        return False
    if case["authorized"] == 0:
        return case["end_reason"] in {None, "cancelled", "failed"}
    if case["captured"] == 0 and case["voided"] == case["authorized"]:
        return case["end_reason"] in {"expired", "voided"}
    return case["end_reason"] is None


SENSIBLE = [case for case in tuples() if fits(case)]


def reachable() -> dict[tuple[Any, ...], str]:
    """Return what commands can make of a payment of 4, and its status: by the plain model."""
    start = [ModelPayment(MOST, method) for method in ("manual", "manual_multiple", "automatic")]
    seen = {_position(payment) for payment in start}
    found: dict[tuple[Any, ...], str] = {}
    while start:
        payment = start.pop()
        found[payment.amounts] = payment.status
        for move in payment.moves():
            after = deepcopy(payment)
            if move(after) is not None:
                continue
            # What was won is over: it would only make the same amounts in ever more ways.
            after.disputes = [each for each in after.disputes if each[1] != "won"]
            if _position(after) not in seen:
                seen.add(_position(after))
                start.append(after)
    return found


def _position(payment: ModelPayment) -> tuple[Any, ...]:
    return payment.amounts, payment.method, tuple(sorted(map(tuple, payment.disputes)))


def statuses_by_sql(url: str, cases: list[dict[str, Any]]) -> list[str]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT payment_status_of(a, c, v, r, d, b, e::text::payment_end_reason)::text"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],"
            " %s::bigint[], %s::text[]) WITH ORDINALITY AS t (a, c, v, r, d, b, e, n) ORDER BY n",
            [[case[name] for case in cases] for name in cases[0]],
        ).fetchall()
    return [status for (status,) in rows]


def test_sql_and_python_agree_on_every_status(database: str) -> None:
    """Every tuple of amounts up to 4 that may stand in a row: no difference."""
    assert len(SENSIBLE) == 216
    assert statuses_by_sql(database, SENSIBLE) == [status_of(**case) for case in SENSIBLE]


def test_sql_and_python_agree_with_the_plain_model(database: str) -> None:
    """Section 3: every tuple that commands can reach has the status that the page gives it."""
    found = reachable()
    cases = [dict(zip((*AMOUNT_NAMES, "end_reason"), key, strict=True)) for key in found]
    # All that is sensible, but what no command leaves: something voided, something still to take.
    missing = [case for case in SENSIBLE if case not in cases]
    assert [case for case in cases if case not in SENSIBLE] == []
    assert all(0 < c["voided"] < c["authorized"] - c["captured"] for c in missing)
    assert len(cases) == 188
    assert [status_of(**case) for case in cases] == list(found.values())
    assert statuses_by_sql(database, cases) == list(found.values())
    assert set(found.values()) == set(STATUSES)


def checks_hold(url: str, cases: list[dict[str, Any]], statuses: list[str]) -> list[bool]:
    """Ask the constraints of `payments` themselves whether such rows may stand there."""
    columns = [*(f"{name}_minor" for name in AMOUNT_NAMES), "end_reason"]
    with psycopg.connect(url) as conn:
        rules = conn.execute(
            "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint"
            " WHERE conrelid = 'payments'::regclass AND contype = 'c'"
        ).fetchall()
        assert len(rules) == 8
        query = (
            f"SELECT ({' AND '.join(rule for (rule,) in rules)}) FROM (SELECT 4 AS amount_minor,"
            " 0 AS fee_minor, 0 AS fee_refunded_minor, a.* FROM unnest("
            + "%s::bigint[], "
            * len(AMOUNT_NAMES)
            + "%s::text[]::payment_end_reason[], %s::text[]::payment_status[]) WITH ORDINALITY"
            f" AS a ({', '.join(columns)}, status, n)) AS payments ORDER BY n"
        )
        values = [[case[name] for case in cases] for name in (*AMOUNT_NAMES, "end_reason")]
        rows = conn.execute(query.encode(), [*values, statuses]).fetchall()
    return [holds for (holds,) in rows]


def test_the_constraints_let_in_what_python_lets_in(database: str) -> None:
    """P6: CHECK = Python over every tuple of amounts up to 4, senseless ones too."""
    cases = list(tuples())
    held = checks_hold(database, cases, [status_of(**case) for case in cases])
    assert held == [fits(case) for case in cases]


def test_the_constraints_let_in_no_other_status(database: str) -> None:
    """P6: of thirteen statuses each sensible tuple has one."""
    cases = [(case, status) for case in SENSIBLE for status in STATUSES]
    held = checks_hold(database, [case for case, _ in cases], [status for _, status in cases])
    assert held == [status_of(**case) == status for case, status in cases]


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
