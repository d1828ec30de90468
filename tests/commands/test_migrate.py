"""`flask migrate`: what it prints, and with which code it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from commands.migrate import migrate
from commands.migrate_frame import Frame, Outcome
from persistence import migration_schema
from persistence.migration_lock import runner_lock
from tests.conftest import PG_MAJOR
from tests.persistence.conftest import Migrations, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from persistence.embedded import EmbeddedServers

NO_TX = "-- migrate: no-transaction"
FAILING = "ALTER TABLE nobody ADD COLUMN x int;"


class Cli(Migrations):
    """A folder and an empty database, and the command on both."""

    def __call__(self, *arguments: str) -> Result:
        """Run `flask migrate` with these arguments, then --folder and --database-url."""
        place = ("--folder", str(self.folder), "--database-url", self.url)
        return CliRunner().invoke(migrate, [*arguments, *place], catch_exceptions=False)

    def json(self, *arguments: str) -> tuple[int, Any]:
        """Run it with --json; return exit code and object."""
        result = self(*arguments, "--json")
        found = json.loads(result.stdout)
        assert found["exit_code"] == result.exit_code
        return result.exit_code, found


@pytest.fixture
def cli(empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    for name in ("DATABASE_URL", "MIGRATE_DATABASE_URL", "MIGRATE_SCHEMA"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "migrations"
    folder.mkdir()
    # Our own grants name tables that these files do not make.
    (tmp_path / "grants.sql").write_text("SELECT 1;")
    with capture_logs() as logs:
        made = Cli(empty_database, folder, logs)
        made.write("0001_a", table("a"))
        yield made


# --- apply --------------------------------------------------------------------------------------


def test_plain_migrate_applies(cli: Cli) -> None:
    """1.1: `apply` is the default, also before options."""
    first = cli()
    assert first.exit_code == 0
    assert first.stdout.startswith("applied 0001_a in ")
    assert "grants: skipped" not in first.stdout.splitlines()[0]
    cli.write("0002_b", table("b"))
    cli.write("0003_c", table("c"))
    code, found = cli.json("--to", "2")
    assert (code, [took["name"] for took in found["applied"]], found["pending"]) == (
        0,
        ["0002_b"],
        ["0003_c"],
    )
    assert cli("apply").exit_code == 0
    assert cli().stdout.startswith("nothing to do")


def test_waiting_and_ahead_are_told(cli: Cli) -> None:
    """M3, M20."""
    cli.write("0002_b", table("b"))
    cli()
    (cli.folder / "0002_b.sql").unlink()
    cli.write("0001_a", table("a"))
    assert cli().stdout.splitlines() == [
        "ahead of this release: 0002_b",
        "grants: skipped: this is not the last version",
    ]
    cli.write("0003_c", "-- migrate: requires-extension nope", table("c"))
    cli.write("0002_b", table("b"))
    assert cli().stdout.splitlines()[0] == "waiting for an extension: 0003_c"


@pytest.mark.parametrize(
    ("arguments", "text", "code", "error"),
    [
        ([], FAILING, 1, "MigrationError"),
        (["--to", "9"], table("b"), 2, "Misconfigured"),
        ([], "UPDATE a SET n = 1;", 7, "LintRefused"),
    ],
)
def test_a_failure_has_its_code_and_its_object(
    cli: Cli, arguments: list[str], text: str, code: int, error: str
) -> None:
    """1.1: one object on stdout, the sentence on stderr."""
    cli.write("0002_b", text)
    result = cli(*arguments, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["exit_code"], found["error"]) == (code, code, error)
    assert found["message"] in result.stderr


def test_a_failure_without_json_is_a_sentence_on_stderr(cli: Cli) -> None:
    """1.1."""
    result = cli("--to", "9")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "no file has version 9\n")


def test_history_that_differs_is_exit_6(cli: Cli) -> None:
    """M20."""
    cli()
    cli.write("0001_a", "-- changed", table("a"))
    code, found = cli.json()
    assert (code, found["files"][0]["state"]) == (6, "changed")


def test_a_busy_lock_is_exit_4(cli: Cli) -> None:
    """M10: `--wait-s` overrides MIGRATE_WAIT_S; the holder is in the object."""
    with runner_lock(cli.settings()):
        code, found = cli.json("--wait-s", "0")
    assert (code, found["error"]) == (4, "Unfinished")
    assert found["holders"][0]["pid"]


def test_destructive_files_need_the_second_key_here(cli: Cli) -> None:
    """M31."""
    cli()
    cli.write("0002_b", '-- migrate: allow drop "gone"', "DROP TABLE a;")
    assert cli().exit_code == 7
    assert cli("--allow-destructive").exit_code == 0


def test_out_of_order_is_allowed_here(cli: Cli) -> None:
    """M20."""
    cli.write("0003_c", table("c"))
    cli()
    cli.write("0002_b", table("b"))
    assert cli().exit_code == 6
    assert cli("--allow-out-of-order").exit_code == 0


def test_an_interrupt_outside_the_database_is_exit_4(capsys: pytest.CaptureFixture[str]) -> None:
    """M16: wherever it falls."""

    def interrupted() -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as raised:
        Frame(as_json=False, database_url=None, folder=None).finish(interrupted)  # type: ignore[arg-type]
    assert raised.value.code == 4
    assert capsys.readouterr().err == "stopped by a signal\n"


# --- Dry runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--dry-run"], ["apply", "--dry-run"], ["--dry-run=print"]])
def test_a_bare_dry_run_prints_and_takes_no_word_as_its_value(
    cli: Cli, arguments: list[str]
) -> None:
    """M21; the trap of click."""
    cli()
    cli.write("0002_b", NO_TX, "ALTER TABLE a ADD COLUMN b int;")
    result = cli(*arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "0002_b: statement by statement",
        "  2: ALTER TABLE a ADD COLUMN b int",
        "      ACCESS EXCLUSIVE on a",
    ]
    assert cli.done() == {"0001_a": "1/1"}


def test_a_dry_run_shows_what_the_lint_refuses(cli: Cli) -> None:
    """M21: exit 7, as the run would."""
    cli.write("0002_b", '-- migrate: allow drop "gone"', "DROP TABLE a;")
    code, found = cli.json("--dry-run")
    assert (code, found["findings"][0]["rule"]) == (7, "drop")
    assert [file["name"] for file in found["files"]] == ["0001_a", "0002_b"]
    assert cli("--dry-run", "--allow-destructive").exit_code == 0


def test_a_dry_run_executes_and_rolls_back(cli: Cli) -> None:
    """M21."""
    cli()
    cli.write("0001_a", table("a"))
    cli.write(
        "0002_b",
        NO_TX,
        '-- migrate: allow rewrite "small"',
        "ALTER TABLE a ADD COLUMN b uuid DEFAULT gen_random_uuid();",
        "VACUUM a;",
    )
    cli.run("INSERT INTO a VALUES ('x', 1)")
    result = cli("--dry-run=execute", "--max-hold-s", "30")
    assert result.exit_code == 0
    name, _, rest = result.stdout.strip().partition(": ")
    assert name == "0002_b"
    assert rest.endswith("ms; locks: AccessExclusiveLock on a; rewrites a; not executed: [2]")
    code, found = cli.json("--dry-run=execute")
    assert (code, found["rehearsed"][0]["not_executed"]) == (0, [2])
    assert cli.done() == {"0001_a": "1/1"}


def test_dry_runs_of_nothing_say_so(cli: Cli) -> None:
    """M21."""
    cli()
    assert cli("--dry-run").stdout == "nothing to do\n"
    assert cli("--dry-run=execute").stdout == "nothing to do\n"


# --- The other commands -------------------------------------------------------------------------


def test_status_tells_and_check_decides(cli: Cli) -> None:
    """1.1: `--check`: 3 while files are pending, 6 if history differs."""
    assert cli("status").stdout == "pending   0001_a\n"
    assert cli("status", "--check").exit_code == 3
    cli()
    assert cli("status", "--check").exit_code == 0
    line = cli("status").stdout
    assert line.startswith("applied   0001_a 20")
    assert " ms, strongroom on " in line
    cli.write("0002_b", NO_TX, table("b"), FAILING)
    cli()
    assert "partial   0002_b 1 of 2 statements 20" in cli("status").stdout
    code, found = cli.json("status")
    assert (code, [file["state"] for file in found["files"]]) == (0, ["applied", "partial"])
    assert found["files"][0]["app_version"]
    cli.write("0001_a", "-- changed", table("a"))
    assert cli("status", "--check").exit_code == 6


def test_verify_says_what_is_wrong(cli: Cli) -> None:
    """1.1: exit 6."""
    assert cli("verify").exit_code == 6
    cli()
    assert cli("verify").stdout == "history and schema are sound\n"
    code, found = cli.json("verify")
    assert (code, found["faults"], found["schema_diff"]) == (0, [], "")


def test_verify_compares_with_the_snapshot(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.1: exit 3 if the database has something else."""
    monkeypatch.setattr(migration_schema, "SNAPSHOT", tmp_path / "schema.sql")
    cli()
    assert cli("verify", "--schema").exit_code == 2
    (tmp_path / "schema.sql").write_text(migration_schema.live_dump(cli.settings()))
    assert cli("verify", "--schema").exit_code == 0
    cli.run("ALTER TABLE a ADD COLUMN by_hand int")
    result = cli("verify", "--schema")
    assert result.exit_code == 3
    assert "+    by_hand integer" in result.stdout


def test_diff_shows_the_change(cli: Cli) -> None:
    """1.1: exit 6 if any."""
    cli()
    assert cli("diff").exit_code == 0
    cli.write("0001_a", "-- changed", table("a"))
    result = cli("diff", "1")
    assert result.exit_code == 6
    assert "+-- changed" in result.stdout.splitlines()


def test_accept_and_baseline_ask_for_a_reason(cli: Cli) -> None:
    """1.1."""
    assert cli("accept", "1").exit_code == 2
    assert cli("baseline", "--to", "1").exit_code == 2
    assert cli("baseline", "--to", "1", "--reason", "x").exit_code == 3
    cli.run(table("a"))
    assert cli("baseline", "--to", "1", "--reason", "x").stdout == "recorded 0001_a\n"
    cli.write("0001_a", "-- changed", table("a"))
    assert cli("accept", "1", "--reason", "x").stdout == "1: accepted\n"
    assert cli("accept", "1", "--reason", "x").stdout == "1: is what was applied already\n"


def test_lint_needs_no_database(cli: Cli) -> None:
    """1.4: exit 7; a reason in the file satisfies it, the second key is for `apply`."""
    place = ("--folder", str(cli.folder), "--database-url", "postgresql://127.0.0.1:1/none")
    cli.write("0002_b", "DROP TABLE a;")
    result = CliRunner().invoke(migrate, ["lint", *place])
    assert result.exit_code == 7
    assert "0002_b, line 1: drop" in result.stdout
    cli.write("0002_b", '-- migrate: allow drop "gone"', "DROP TABLE a;")
    code, found = cli.json("lint")
    assert (code, found["findings"][0]["reason"]) == (0, "gone")


def test_new_makes_the_next_file(cli: Cli) -> None:
    """1.1."""
    result = cli("new", "more")
    assert result.exit_code == 0
    assert (cli.folder / "0002_more.sql").is_file()
    assert cli("new", "No!").exit_code == 2


def test_help_lists_the_commands() -> None:
    """1.1."""
    result = CliRunner().invoke(migrate, ["--help"])
    assert result.exit_code == 0
    for name in (
        "apply",
        "status",
        "verify",
        "diff",
        "accept",
        "baseline",
        "lint",
        "schema",
        "new",
    ):
        assert f"  {name} " in result.stdout


# --- Where the settings come from ---------------------------------------------------------------


def test_the_environment_names_database_and_schema(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MIGRATE_DATABASE_URL before DATABASE_URL, MIGRATE_SCHEMA."""
    cli.run("CREATE SCHEMA elsewhere")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("MIGRATE_DATABASE_URL", cli.url)
    monkeypatch.setenv("MIGRATE_SCHEMA", "elsewhere")
    monkeypatch.setenv("REDIS_URL", "off")
    result = CliRunner().invoke(migrate, ["--folder", str(cli.folder)], catch_exceptions=False)
    assert result.exit_code == 0
    assert cli.query("SELECT to_regclass('elsewhere.a')::text") == ["elsewhere.a"]


def test_embedded_servers_are_migrated_as_owner_and_snapshots_made_as_administrator(
    own_servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M22: `make run` and `make schema` on a fresh machine."""
    for name in ("DATABASE_URL", "MIGRATE_DATABASE_URL", "MIGRATE_SCHEMA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VAR_DIR", str(own_servers.var.path))
    monkeypatch.setenv("EMBEDDED_PG_MAJOR", str(PG_MAJOR))
    monkeypatch.setattr(migration_schema, "SNAPSHOT", tmp_path / "schema.sql")
    with capture_logs():
        applied = CliRunner().invoke(migrate, [], catch_exceptions=False)
        schema = CliRunner().invoke(migrate, ["schema"], catch_exceptions=False)
        verified = CliRunner().invoke(migrate, ["verify", "--schema"], catch_exceptions=False)
    assert applied.stdout.splitlines()[-1] == "grants: applied"
    assert schema.stdout == f"{tmp_path / 'schema.sql'}\n"
    assert verified.stdout == "history and schema are sound\n"
