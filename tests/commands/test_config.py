"""`flask check-config`, and the page that it makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from commands.config import check_config, page

if TYPE_CHECKING:
    import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(check_config, arguments, env=environ)


def test_the_page_of_settings_is_that_of_the_code() -> None:
    """AG6: `flask check-config --markdown > docs/config.md`."""
    assert (DOCS / "config.md").read_text("utf-8") == page()
    assert run("--markdown").stdout == page()


def test_values_are_shown_with_their_source_and_secrets_are_not() -> None:
    """AG6."""
    done = run(WEB_THREADS="3", DATABASE_URL="postgresql://u:s3cret@h/db")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert "WEB_THREADS = 3  (environment)" in lines
    assert "DB_POOL_SIZE = 3  (default)" in lines
    assert "DATABASE_URL = ***  (environment)" in lines
    assert "FEATURE_IDEMPOTENCY_ENABLED = true  (default)" in lines
    assert "TRUSTED_PROXY_IPS = 127.0.0.1,::1  (default)" in lines
    assert "METRICS_TOKEN = none  (default)" in lines
    assert "s3cret" not in done.output


def test_json_is_one_object() -> None:
    """AG6."""
    found = json.loads(run("--json", WEB_THREADS="3").stdout)
    assert found["settings"]["WEB_THREADS"] == {"value": "3", "source": "environment"}
    assert found["findings"] == []


def test_a_faulty_setting_is_exit_2() -> None:
    """AG2."""
    done = run(WEB_THREADS="many")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("config: WEB_THREADS: ")


def test_a_server_that_fits_is_exit_0(database: str) -> None:
    """AG6: `--db` asks the server for what this session got."""
    done = run("--db", DATABASE_URL=database, REDIS_URL="off", WEB_CONCURRENCY="1", WEB_THREADS="2")
    assert "is off: an answer may be lost" in done.stderr  # The suite's server is fast, not safe.
    assert "DB_" not in done.stderr


def test_a_server_with_too_few_connections_is_a_finding(database: str) -> None:
    """AG6."""
    done = run("--db", "--json", DATABASE_URL=database, REDIS_URL="off", WEB_CONCURRENCY="200")
    assert done.exit_code == 3
    assert any(text.startswith("max_connections") for text in json.loads(done.stdout)["findings"])


def test_a_server_that_is_too_old_is_a_finding(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """README decision 1: 16 and later."""
    monkeypatch.setattr("services.server_fit.OLDEST_SERVER", 990_000)
    done = run("--db", DATABASE_URL=database, REDIS_URL="off")
    assert "finding: the server is older than PostgreSQL 16" in done.stderr.splitlines()


def test_a_pooler_that_keeps_no_timeouts_is_a_finding(database: str) -> None:
    """OD3: what DB_POOLER=pgbouncer leaves to the role has to stand there."""
    done = run("--db", DATABASE_URL=database, REDIS_URL="off", DB_POOLER="pgbouncer")
    assert done.exit_code == 3
    assert "finding: lock_timeout is 0, DB_LOCK_TIMEOUT_MS 1000" in done.stderr.splitlines()


def test_a_server_that_does_not_answer_is_exit_4(tmp_path: Path) -> None:
    """AG6."""
    done = run("--db", DATABASE_URL=f"postgresql://u@/db?host={tmp_path}", REDIS_URL="off")
    assert done.exit_code == 4
    assert done.stderr.startswith("database_unavailable: ")
