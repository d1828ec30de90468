"""Plans: what an index serves, and what reads more than one tenant's few rows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from persistence import sql_files, statements
from tests.persistence.db_world import CheckedWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CheckedWorld]:
    monkeypatch.setattr(statements, "REGISTRY", {})
    with CheckedWorld(empty_database, tmp_path) as made, contextlib.closing(made.raw):
        yield made


ONE_ROW = "SELECT tenant_id, id FROM t WHERE tenant_id = 'a' AND id = uuidv"
NARROW = [
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND t.seen <= now()",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND (t.seen = now() OR t.id = uuidv)",
    "SELECT 1 FROM coins WHERE coins.code = 'EUR'",
    "SELECT 1 FROM (SELECT 'EUR' AS code) AS c JOIN coins ON coins.code = c.code",
    f"WITH o AS ({ONE_ROW}) UPDATE t SET kind = 'x' FROM o WHERE t.tenant_id = 'a' AND t.id = o.id",
    "SELECT 1 FROM t WHERE (t.tenant_id, t.id) > ('a', uuidv)",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND (t.seen, t.id) > (now()::date, uuidv)",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND t.id = ANY (ARRAY[uuidv])",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND t.seen IS NULL",
    "SELECT 1 FROM t AS a JOIN t AS b USING (tenant_id, id) WHERE tenant_id = 'a' AND id = uuidv",
    "SELECT 1 FROM pg_class",
    "SELECT 1",
]
WIDE = [
    "SELECT 1 FROM t",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a'",
    "SELECT 1 FROM t WHERE t.id = uuidv",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND t.kind = 'x'",
    "SELECT 1 FROM t WHERE t.tenant_id = 'a' AND t.id <> uuidv",
    "SELECT 1 FROM t WHERE lower(t.kind) = 'x'",
    "SELECT 1 FROM coins WHERE coins.name = 'Euro'",
    "SELECT 1 FROM coins WHERE coins.code || 'x' = 'EURx'",
    "SELECT 1 FROM coins WHERE 'EURx' = coins.code || 'x'",
    "DELETE FROM coins",
]
UUID_VALUE = "'01890a5d-ac96-774b-bcce-b302099a8057'::uuid"


def plan_findings(world: CheckedWorld, text: str) -> list[str]:
    text = text.replace("uuidv", UUID_VALUE)
    kind = "write" if "UPDATE" in text or "DELETE" in text else "read"
    returns = "one" if kind == "read" else "count"
    return world.findings(f"{text};", kind=kind, returns=returns, plans=True)


@pytest.mark.parametrize("text", NARROW)
def test_a_statement_that_an_index_serves_has_no_finding(world: CheckedWorld, text: str) -> None:
    """AQ7: from tenant_id and one column on, or by a whole unique index."""
    assert plan_findings(world, text) == []


@pytest.mark.parametrize("text", WIDE)
def test_a_statement_that_reads_more_is_found(world: CheckedWorld, text: str) -> None:
    """AQ7."""
    (found,) = plan_findings(world, text)
    assert found.endswith("is read by no index from tenant_id and one column on (AQ7)")


def test_a_header_may_allow_to_read_a_tenant_or_all(world: CheckedWorld) -> None:
    """AQ7: scan."""
    tenant = "SELECT 1 FROM t WHERE t.tenant_id = 'a'"
    assert plan_findings(world, f"-- scan: tenant\n{tenant}") == []
    assert plan_findings(world, "-- scan: tenant\nSELECT 1 FROM t") != []
    assert plan_findings(world, "-- scan: all\nSELECT 1 FROM t") == []
    assert sql_files.load("t/s0", world._directory).scan == "tenant"
