"""`flask check-sql`: exit codes and what stands on which stream."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

import repos.tenants
from commands.sql import check_sql
from persistence import sql_files, statements

FILE = repos.tenants.GET.name
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def run(*arguments: str, **environ: str) -> Result:
    environ = {"REDIS_URL": "off", **environ}
    return CliRunner().invoke(check_sql, arguments, env=environ)


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no repo use any file, which is a finding for each."""
    monkeypatch.setattr(statements, "REGISTRY", {})


def test_a_file_without_findings_is_exit_0(database: str) -> None:
    """Section 4: the configured database, or another one."""
    for done in (
        run("--file", FILE, "--plans", DATABASE_URL=database),
        run("--file", FILE, "--database-url", database, DATABASE_URL=NOWHERE),
    ):
        assert (done.exit_code, done.stdout) == (0, "1 files, 0 findings\n")


def test_json_is_one_object(database: str) -> None:
    """Section 4: text goes to stderr."""
    done = run("--file", FILE, "--json", "--database-url", database)
    assert json.loads(done.stdout) == {"files": 1, "findings": []}
    assert done.stderr == "1 files, 0 findings\n"


def test_a_finding_is_exit_3(database: str, unused: None) -> None:
    """Section 4: all files are looked at."""
    done = run("--database-url", database)
    lines = done.stdout.splitlines()
    count = len(sql_files.names())
    assert (done.exit_code, done.stderr) == (3, "")
    assert f"sql/{FILE}.sql: no repo function uses it (AI8)" in lines
    assert lines[-1] == f"{count} files, {len(lines) - 1} findings"


def test_a_finding_in_json_names_its_file(database: str, unused: None) -> None:
    """Section 4."""
    done = run("--file", FILE, "--json", "--database-url", database)
    assert done.exit_code == 3
    finding = {"file": FILE, "text": "no repo function uses it (AI8)"}
    assert json.loads(done.stdout)["findings"] == [finding]
    assert f"sql/{FILE}.sql: no repo function uses it (AI8)" in done.stderr


def test_an_unknown_file_is_exit_2() -> None:
    """Section 4."""
    done = run("--file", "no/such")
    assert done.exit_code == 2
    assert "there is no sql/no/such.sql" in done.stderr


@pytest.mark.parametrize("arguments", [["--database-url", NOWHERE], []])
def test_a_database_that_cannot_be_reached_is_exit_4(arguments: list[str]) -> None:
    """Section 4."""
    done = run(*arguments, DATABASE_URL=NOWHERE)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("database_unavailable: ")
