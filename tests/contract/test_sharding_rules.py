"""What lets the ledger's SQL run unchanged where its tables are sharded by tenant (LC1 to LC8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.contract.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.database  # Runs on 16 too.

FILES = sorted(
    path for noun in ("postings", "holds") for path in (ROOT / "sql" / noun).glob("*.sql")
)
# Tables without a tenant: reference tables, where tables are sharded.
REFERENCES = {"currencies"}
VOLATILE = re.compile(r"\b(clock_timestamp|gen_random_uuid|random|nextval|pg_current_xact_id)\(")
OF_TIME = re.compile(r"\binterval\b|\bmake_interval\(|\bAT TIME ZONE\b")
TABLE = re.compile(
    r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(ledger_[a-z]+s|ledger_seal_state|idempotency_keys)"
    r"(?:\s+AS\s+(\w+))?"
)
TENANT = r"\s*=\s*(?:tenant\b|:'tenant_id'::text|\w+\.tenant_id)"


@pytest.fixture
def functions(database: str) -> list[tuple[str, str]]:
    """Names and bodies of the ledger's functions that are asked to do something."""
    with psycopg.connect(database) as conn:
        return conn.execute(
            "SELECT proname, prosrc FROM pg_proc WHERE proname ~ '^ledger_' AND prolang <> ("
            "SELECT oid FROM pg_language WHERE lanname = 'internal')"
        ).fetchall()


def texts(functions: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield every file and function by name, without comments."""
    named = [(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in FILES]
    for name, text in named + functions:
        yield name, re.sub(r"--.*", "", text)


def test_every_table_is_compared_with_the_tenant(functions: list[tuple[str, str]]) -> None:
    """LC1: joins and subqueries too, so that a statement is of one shard."""
    missing = [
        (name, table, alias)
        for name, text in texts(functions)
        for table, alias in TABLE.findall(text)
        if alias and not re.search(rf"\b{alias}\.tenant_id{TENANT}", text)
        if not re.search(rf"INSERT INTO {table} AS {alias}\b", text)
    ]
    assert missing == []


def test_a_posting_writes_no_reference_table(functions: list[tuple[str, str]]) -> None:
    """LC2: its commit is one-phase."""
    written = {
        table
        for _, text in texts(functions)
        for table in re.findall(r"\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)", text)
    }
    assert "ledger_entries" in written
    assert not written & REFERENCES


def test_keys_lead_with_the_tenant(database: str) -> None:
    """LC3: primary keys, unique indexes, foreign keys of all the ledger's tables."""
    with psycopg.connect(database) as conn:
        indexes = conn.execute(
            "SELECT i.indexrelid::regclass::text, a.attname FROM pg_index AS i"
            " JOIN pg_class AS c ON c.oid = i.indrelid"
            " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
            " WHERE c.relname ~ '^ledger_' AND i.indisunique"
        ).fetchall()
        foreign = conn.execute(
            "SELECT k.conname, a.attname FROM pg_constraint AS k"
            " JOIN pg_class AS c ON c.oid = k.conrelid"
            " JOIN pg_class AS f ON f.oid = k.confrelid"
            " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]"
            " WHERE c.relname ~ '^ledger_' AND k.contype = 'f' AND f.relname <> 'currencies'"
        ).fetchall()
    assert len(indexes) > 8
    assert [name for name, column in indexes + foreign if column != "tenant_id"] == []


def steps(text: str) -> Iterator[str]:
    """Yield the steps of a chain, and what stands behind them."""
    yield from re.findall(r"\bAS \(\n(.*?)\n\)", text, re.DOTALL)
    yield text.rpartition("\n)")[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_writes_compute_no_moment(path: object) -> None:
    """LC5, LC6: the clock and its arithmetic are columns of a SELECT; updates copy them."""
    text = re.sub(r"--.*", "", ROOT.joinpath(str(path)).read_text("utf-8"))
    for step in steps(text):
        if step.lstrip().startswith(("UPDATE", "INSERT", "DELETE")):
            assert not VOLATILE.search(step), step
        if step.lstrip().startswith("UPDATE"):
            assert not OF_TIME.search(step), step


def test_nothing_is_held_by_triggers_or_advisory_locks(
    database: str, functions: list[tuple[str, str]]
) -> None:
    """LC7: no advisory lock, trigger, LISTEN or deferrable constraint."""
    with psycopg.connect(database) as conn:
        triggers = conn.execute(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
            " AND tgrelid::regclass::text ~ '^ledger_'"
        ).fetchall()
        deferrable = conn.execute(
            "SELECT conname FROM pg_constraint WHERE condeferrable"
            " AND conrelid::regclass::text ~ '^ledger_'"
        ).fetchall()
    assert (triggers, deferrable) == ([], [])
    for name, text in texts(functions):
        assert not re.search(r"advisory|\bLISTEN\b|\bNOTIFY\b|SERIALIZABLE", text), name


def test_the_function_is_called_alone_with_its_tenant() -> None:
    """LC8: SELECT ... FROM f(tenant, ...), outside BEGIN, is sent whole to the tenant's node."""
    text = (ROOT / "sql/postings/record.sql").read_text("utf-8")
    assert re.search(r"FROM ledger_post\(:'tenant_id'::text, :'request'::jsonb\)", text)
    assert not re.search(r"\bWITH\b|\bJOIN\b", re.sub(r"--.*", "", text))
