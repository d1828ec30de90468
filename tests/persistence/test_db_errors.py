"""The error table as data: whole, and read by SQLSTATE only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from errors import AmountOverflow, AppError, Contention, DuplicateReference
from persistence.db_errors import (
    RULES,
    WAITS,
    DeadlinePassed,
    Mode,
    OwnerNeeded,
    Trouble,
    refusal,
    rule_of,
    trouble_of,
)


class Mine(AppError):
    """What somebody else's function waits for."""


@pytest.mark.parametrize("mode", Mode)
def test_every_trouble_has_a_rule_in_every_mode(mode: Mode) -> None:
    """Section 5: both columns of the table are whole; what is a 503 says so to the client."""
    assert set(RULES[mode]) == set(Trouble)
    assert {rule.error.status for rule in RULES[mode].values() if rule.error} == {503}


@pytest.mark.parametrize(
    ("sqlstates", "trouble"),
    [
        (["53000", "53100", "53200", "53300", "53400", "25006"], Trouble.REFUSED),
        (["57P01", "57P02", "57P03", "08000", "08006", "58030", "XX000"], Trouble.LOST),
        (["57014", "25P03", "25P04"], Trouble.CANCELLED),
        (["40001", "40P01"], Trouble.CONFLICT),
        (["55P03"], Trouble.LOCKED),
        (["0A000"], Trouble.STALE_PLAN),
        (["22003", "23505", "42601", "22P02", "40002", "P0001"], None),
    ],
)
def test_a_sqlstate_is_a_row_of_the_table(sqlstates: list[str], trouble: Trouble | None) -> None:
    """Section 5, AF2."""
    found = {trouble_of(psycopg.errors.lookup(sqlstate)()) for sqlstate in sqlstates}
    assert found == {trouble}


def test_what_the_client_noticed_has_no_sqlstate() -> None:
    """Section 5: a broken connection, a deadline before and after sending, a bug."""
    assert trouble_of(psycopg.OperationalError("gone")) is Trouble.LOST
    assert trouble_of(DeadlinePassed(sent=True)) is Trouble.DEADLINE
    assert trouble_of(DeadlinePassed(sent=False)) is Trouble.CANCELLED
    assert trouble_of(psycopg.ProgrammingError("wrong use")) is None


def test_a_refused_value_is_an_error_of_ours_or_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """AF2: by the constraint's name."""
    violation = psycopg.errors.UniqueViolation()
    assert refusal(violation) is None
    names = {"payments_reference_key": DuplicateReference, "payments_pkey": None}
    for name, error in names.items():
        diag = type("Diag", (), {"constraint_name": name})()
        monkeypatch.setattr(psycopg.errors.UniqueViolation, "diag", diag)
        assert refusal(violation) is error
    assert refusal(psycopg.errors.NumericValueOutOfRange()) is AmountOverflow
    assert refusal(psycopg.errors.InsufficientPrivilege()) is OwnerNeeded
    assert refusal(psycopg.errors.DivisionByZero()) is None
    assert refusal(psycopg.DataError()) is None


@pytest.mark.parametrize(
    ("within", "expected"),
    [("PL/pgSQL function guard() line 3 at PERFORM", Mine), (None, Contention)],
)
def test_a_wait_within_a_known_function_has_its_own_name(
    monkeypatch: pytest.MonkeyPatch, within: str | None, expected: type[AppError]
) -> None:
    """A package that brings triggers says what its writers waited for."""
    monkeypatch.setitem(WAITS, "guard", Mine)
    waited: Any = SimpleNamespace(diag=SimpleNamespace(context=within))
    assert rule_of(Mode.WRITE, Trouble.LOCKED, waited).error is expected
    assert rule_of(Mode.WRITE, Trouble.CONFLICT, waited).error is Contention
