"""Settings that change without a restart: whose value counts, how old it is, who may set it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from errors import NotFound
from observability import current
from persistence.db import Database, DbSettings
from services.settings import INSTALLATION, SettingInvalid, Settings, SettingUnknown
from services.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "rate_limit_key_write"
SUBJECT = "cli:test"


class Clock:
    """Seconds in the test's hands."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(database: str, clock: Clock) -> Iterator[Settings]:
    db = Database(database, DbSettings(pool_size=1))
    Tenants(db).create("acme", "Acme", SUBJECT)
    yield Settings(db, clock=clock)
    db.close()


def test_the_tenants_own_value_counts_before_the_installations(settings: Settings) -> None:
    """OR1."""
    settings.set_value(INSTALLATION, NAME, "100/minute", SUBJECT)
    settings.set_value("acme", NAME, "200/minute", SUBJECT)
    assert settings.value("acme", NAME) == "200/minute"
    assert settings.value("default", NAME) == "100/minute"
    assert settings.value(INSTALLATION, NAME) == "100/minute"
    assert settings.value("acme", "rate_limit_heavy") is None


def test_a_value_is_a_minute_old_at_most_and_costs_no_statement_meanwhile(
    settings: Settings, clock: Clock
) -> None:
    """Operations 4: at most 60 s old in any process."""
    assert settings.value("acme", NAME) is None
    settings.set_value("acme", NAME, "200/minute", SUBJECT)
    sent = current().db_statements
    clock.now += 59
    assert settings.value("acme", NAME) is None
    assert current().db_statements == sent
    clock.now += 1
    assert settings.value("acme", NAME) == "200/minute"


def test_while_the_database_is_away_what_was_known_goes_on(
    settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    settings.set_value("acme", NAME, "200/minute", SUBJECT)
    assert settings.value("acme", NAME) == "200/minute"
    nowhere = Database(f"postgresql://u@/db?host={tmp_path}", DbSettings(pool_timeout_ms=10))
    settings._db = nowhere
    clock.now += 61
    assert settings.value("acme", NAME) == "200/minute"
    nowhere.close()


def test_setting_the_same_again_is_no_change_and_audited_once(
    settings: Settings, database: str
) -> None:
    assert settings.set_value("acme", NAME, "200/minute", SUBJECT)
    assert not settings.set_value("acme", NAME, "200/minute", SUBJECT)
    assert settings.set_value("acme", NAME, "300/minute", SUBJECT)
    settings.remove("acme", NAME, SUBJECT)
    assert settings.list_by_tenant("acme") == []
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT event, details ->> 'value' FROM audit_log"
            " WHERE tenant_id = 'acme' AND event LIKE 'setting%' ORDER BY id"
        ).fetchall()
    assert rows == [
        ("setting_changed", "200/minute"),
        ("setting_changed", "300/minute"),
        ("setting_removed", "300/minute"),
    ]


def test_what_is_not_known_cannot_be_set(settings: Settings) -> None:
    """The limits of log-ins are not among them; nor is what other commands keep there."""
    for name in ("rate_limit_login", "event_epoch"):
        with pytest.raises(SettingUnknown):
            settings.set_value(INSTALLATION, name, "1/minute", SUBJECT)
        with pytest.raises(SettingUnknown):
            settings.remove(INSTALLATION, name, SUBJECT)
    with pytest.raises(SettingInvalid):
        settings.set_value(INSTALLATION, NAME, "many", SUBJECT)
    with pytest.raises(NotFound):
        settings.set_value("nobody", NAME, "1/minute", SUBJECT)
    with pytest.raises(NotFound):
        settings.remove("acme", NAME, SUBJECT)


def test_so_many_tenants_are_remembered_and_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.settings.TENANTS_MAX", 3)
    for number in range(10):
        settings.value(f"t{number}", NAME)
    assert len(settings._kept) <= 4
