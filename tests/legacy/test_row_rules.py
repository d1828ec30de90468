"""Amounts that come in are those that our constraints let in: no more, and no fewer (D25)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from legacy.ours import DOMAINS
from legacy.row_rules import derived_amounts, row_faults, value_faults
from services.payment_states import COUNTERS
from tests.legacy.maps import EXPONENTS

# Every payment of 2 with small counters; `fits` is what the CHECKs of the table say of it.
TUPLES = """
SELECT {columns}, coalesce({checks}, true) AS fits
FROM (
    SELECT 2::bigint AS amount_minor, v.*,
        payment_status_of(v.authorized_minor, v.captured_minor, v.voided_minor, v.refunded_minor,
            v.disputed_minor, v.charged_back_minor, v.end_reason) AS status
    FROM (
        SELECT a::bigint AS authorized_minor, c::bigint AS captured_minor,
            v::bigint AS voided_minor, r::bigint AS refunded_minor, d::bigint AS disputed_minor,
            b::bigint AS charged_back_minor, f::bigint AS fee_minor,
            g::bigint AS fee_refunded_minor, e.reason AS end_reason
        FROM generate_series(0, 3) AS a, generate_series(0, 2) AS c, generate_series(0, 2) AS v,
            generate_series(0, 2) AS r, generate_series(0, 1) AS d, generate_series(0, 1) AS b,
            generate_series(0, 1) AS f, generate_series(0, 1) AS g,
            unnest(array_append(enum_range(NULL::payment_end_reason), NULL)) AS e (reason)
    ) AS v
) AS payments
"""
NAMES = ("amount_minor", "status", "end_reason", *COUNTERS)


def test_amounts_come_in_as_our_constraints_say(database_owner: str) -> None:
    """D25: every tuple of small amounts, with the status that it has."""
    with psycopg.connect(database_owner) as conn:
        found = conn.execute(
            "SELECT string_agg('(' || pg_get_expr(conbin, conrelid) || ')', ' AND ')"
            " FROM pg_constraint WHERE conrelid = 'payments'::regclass AND contype = 'c'"
        ).fetchone()
        assert found is not None
        query = TUPLES.format(columns=", ".join(NAMES), checks=found[0])
        rows = conn.execute(query.encode()).fetchall()
    different = []
    for *values, fits in rows:
        row: dict[str, Any] = dict(zip(NAMES, values, strict=True))
        if (not list(row_faults("payments", row))) != fits:
            different.append(row)
    assert (len(rows), different[:3]) == (4 * 27 * 16 * 5, [])
    assert {fits for *_, fits in rows} == {True, False}


@pytest.mark.parametrize("status", DOMAINS["payments"]["status"].words)
def test_what_a_status_alone_tells_is_consistent(status: str) -> None:
    """V3: or it is rejected, where a part of the amount would have to be guessed."""
    row = {"amount_minor": 5, "status": status, **derived_amounts(status, 5)}
    partly = status.startswith("partially")
    assert [*row_faults("payments", row)] == ([("status", "status_inconsistent")] if partly else [])


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("reference", "order 7", None),
        ("reference", " order 7", "text_invalid"),
        ("reference", "", "text_invalid"),
        ("reference", "x" * 101, "text_too_long"),
        ("description", "", None),
        ("gateway", "", "text_invalid"),
        ("gateway", None, "value_missing"),
        ("amount_minor", 1, None),
        ("amount_minor", 0, "amount_out_of_range"),
        ("refunded_minor", 0, None),
        ("refunded_minor", -1, "amount_out_of_range"),
        ("metadata", {str(number): "" for number in range(50)}, None),
        ("metadata", {str(number): "" for number in range(51)}, "metadata_too_large"),
        ("capture_method", "later", "value_unmapped"),
        ("currency", "EUR", None),
        ("currency", "XAU", "currency_unknown"),
    ],
)
def test_each_value_has_its_bounds(name: str, value: Any, code: str | None) -> None:
    """D25: the last that may come in, and the first that may not."""
    found = [*value_faults(DOMAINS["payments"][name], value, EXPONENTS)]
    assert found == ([] if code is None else [(name, code)])


def test_only_an_erased_user_has_no_address() -> None:
    """D25: users_email_check."""
    for status in ("active", "disabled", "deleted"):
        faults = [*row_faults("users", {"email": None, "status": status})]
        assert (faults == []) == (status == "deleted")
