"""Tenants: made once, suspended and resumed, each change audited once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from errors import NotFound
from persistence.db import Database, DbSettings
from services.tenants import Tenants, TenantTaken

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def tenants(database: str) -> Iterator[Tenants]:
    db = Database(database, DbSettings(pool_size=1))
    yield Tenants(db)
    db.close()


def audited(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        query = b"SELECT tenant_id, subject, event, details FROM audit_log ORDER BY id"
        return conn.execute(query).fetchall()


def test_the_default_tenant_is_there_from_the_start_and_open(tenants: Tenants) -> None:
    (default,) = tenants.list_all()
    assert (default.tenant_id, default.status, default.registration_open) == (
        "default",
        "active",
        True,
    )


def test_a_new_tenant_is_active_and_closed_for_registration(
    tenants: Tenants, database: str
) -> None:
    """A52: with its audit row."""
    made = tenants.create("acme", "Acme Inc.", "cli:ops")
    assert (made.name, made.status, made.registration_open) == ("Acme Inc.", "active", False)
    assert tenants.list_all()[0] == made
    assert audited(database) == [("acme", "cli:ops", "tenant_created", {})]


def test_a_taken_id_leaves_its_tenant_as_it_is(tenants: Tenants, database: str) -> None:
    made = tenants.create("acme", "Acme", "cli:ops")
    with pytest.raises(TenantTaken):
        tenants.create("acme", "Other", "cli:ops")
    assert tenants.list_all()[0] == made
    assert len(audited(database)) == 1


def test_suspending_twice_is_one_change(tenants: Tenants, database: str) -> None:
    assert tenants.suspend("default", "cli:ops").status == "suspended"
    assert tenants.suspend("default", "cli:ops").status == "suspended"
    assert tenants.resume("default", "cli:ops").status == "active"
    assert [details for *_, details in audited(database)] == [
        {"from": "active", "to": "suspended"},
        {"from": "suspended", "to": "active"},
    ]


def test_an_unknown_tenant_is_not_found(tenants: Tenants, database: str) -> None:
    with pytest.raises(NotFound):
        tenants.suspend("nobody", "cli:ops")
    assert audited(database) == []
