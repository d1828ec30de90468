"""Which files are migrations, what is remembered of them, and how a file asks for exceptions."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from persistence.migration_errors import Misconfigured
from persistence.migration_files import MAX_BYTES, create, load, parse

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_ordered_as_numbers(tmp_path: Path) -> None:
    """M1: 9999 comes before a timestamp, though not in the alphabet."""
    for name in ("20260101120000_c", "9999_b", "0001_a"):
        (tmp_path / f"{name}.sql").write_text("SELECT 1;")
    assert [(f.version, f.name) for f in load(tmp_path)] == [
        (1, "0001_a"),
        (9999, "9999_b"),
        (20260101120000, "20260101120000_c"),
    ]


def test_every_fault_of_the_folder_is_named_at_once(tmp_path: Path) -> None:
    """M1: foreign files, folders, links, doubled versions, NUL, other encodings, giants."""
    (tmp_path / "0001_a.sql").write_text("SELECT 1;")
    (tmp_path / "0001_b.sql").write_text("SELECT 1;")
    (tmp_path / "0003_Big.sql").write_text("SELECT 1;")
    (tmp_path / "0004_folder.sql").mkdir()
    (tmp_path / "0005_link.sql").symlink_to(tmp_path / "0001_a.sql")
    (tmp_path / "0006_nul.sql").write_bytes(b"SELECT 1\0;")
    (tmp_path / "0007_latin1.sql").write_bytes(b"SELECT '\xe9';")
    (tmp_path / "0008_giant.sql").write_bytes(b"-" * (MAX_BYTES + 1))
    (tmp_path / "0009_empty.sql").write_text("-- nothing\n;")
    (tmp_path / "0010_open.sql").write_text("SELECT 'a")
    (tmp_path / "00011_five.sql").write_text("SELECT 1;")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "0012_good.sql").write_text("SELECT 1;")
    with pytest.raises(Misconfigured) as raised:
        load(tmp_path)
    only = "only files named <4 or 14 digits>_<a-z, 0-9, _>.sql belong here"
    assert raised.value.exit_code == 2
    assert raised.value.details["faults"] == [
        f"00011_five.sql: {only}",
        "0001_b.sql: version 1 is 0001_a already",
        f"0003_Big.sql: {only}",
        f"0004_folder.sql: {only}",
        f"0005_link.sql: {only}",
        "0006_nul.sql: holds NUL",
        "0007_latin1.sql: is not UTF-8 at byte 8",
        f"0008_giant.sql: is larger than {MAX_BYTES} bytes",
        "0009_empty.sql: has no statement",
        "0010_open.sql: line 1: ' is never closed",
        f"README.md: {only}",
    ]


def test_a_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    """M1: an empty list would look like a finished migration."""
    with pytest.raises(Misconfigured, match="is no folder"):
        load(tmp_path / "none")


def test_bom_and_crlf_change_no_checksum(tmp_path: Path) -> None:
    """M2: the text without BOM and with LF is what is stored and summed."""
    (tmp_path / "0001_a.sql").write_bytes(b"\xef\xbb\xbfSELECT\r\n1;\r\n")
    (tmp_path / "0002_a.sql").write_bytes(b"SELECT\n1;\n")
    one, two = load(tmp_path)
    assert one.body == two.body == "SELECT\n1;\n"
    assert one.checksum == two.checksum == hashlib.sha256(b"SELECT\n1;\n").digest()


def test_directives_are_read_from_the_leading_comments() -> None:
    """M3."""
    file = parse(
        1,
        "0001_a",
        "-- Why.\n-- migrate: no-transaction\n-- migrate: lock-timeout 5s\n"
        '-- migrate: allow drop "the table was never read"\n'
        "-- migrate: requires-extension vector\nSELECT 1;",
    )
    assert not file.transactional
    assert file.lock_timeout_ms == 5000
    assert file.allows == {"drop": "the table was never read"}
    assert file.extensions == ("vector",)


def test_a_file_without_directives_is_one_transaction() -> None:
    """M3, M12."""
    file = parse(1, "0001_a", "SELECT 1")
    assert (file.transactional, file.lock_timeout_ms, file.allows, file.extensions) == (
        True,
        None,
        {},
        (),
    )


def test_lock_timeout_takes_milliseconds() -> None:
    """M3."""
    assert parse(1, "0001_a", "-- migrate: lock-timeout 250ms\nSELECT 1").lock_timeout_ms == 250


@pytest.mark.parametrize(
    "text",
    [
        "-- migrate: no-transactions",
        "--migrate: no-transaction",
        "-- MIGRATE: no-transaction",
        "-- migrate : no-transaction",
        "-- migrate: no-transaction\n-- migrate: no-transaction",
        "-- migrate: lock-timeout 0s",
        "-- migrate: lock-timeout 61s",
        "-- migrate: lock-timeout 1s\n-- migrate: lock-timeout 2s",
        "-- migrate: allow drop",
        '-- migrate: allow drop " "',
        '-- migrate: allow everything "because"',
        '-- migrate: allow session "because"',
        '-- migrate: allow drop "a"\n-- migrate: allow drop "b"',
        "-- migrate: requires-extension a;b",
        "-- migrate:",
    ],
)
def test_unknown_directives_are_refused(text: str) -> None:
    """M3: a typing error must not pass as a comment."""
    with pytest.raises(Misconfigured):
        parse(1, "0001_a", f"{text}\nSELECT 1;")


def test_a_directive_after_the_first_statement_is_refused() -> None:
    """M3: there it would look as if it governed the rest only."""
    with pytest.raises(Misconfigured, match="line 2: a directive stands before the statements"):
        parse(1, "0001_a", "SELECT 1;\n-- migrate: no-transaction\nSELECT 2;")


def test_a_new_file_takes_the_next_number(tmp_path: Path) -> None:
    """`flask migrate new`: gaps stay, other names do not count."""
    (tmp_path / "README.md").write_text("x")
    first = create(tmp_path, "tenants")
    (tmp_path / "0041_users.sql").write_text("SELECT 1;")
    second = create(tmp_path, "users_again")
    assert [first.name, second.name] == ["0001_tenants.sql", "0042_users_again.sql"]
    assert second.read_text().startswith("-- 0042_users_again: ")


def test_after_the_last_number_or_a_time_comes_the_time(tmp_path: Path) -> None:
    """M1: 14 digits sort after 4."""
    (tmp_path / "9999_last.sql").write_text("SELECT 1;")
    assert re.fullmatch(r"20\d{12}_next\.sql", create(tmp_path, "next").name)


@pytest.mark.parametrize("name", ["", "With-Hyphen", "a" * 81, "../a"])
def test_a_name_that_does_not_fit_makes_no_file(tmp_path: Path, name: str) -> None:
    """M1."""
    with pytest.raises(Misconfigured, match="a name has 1 to 80"):
        create(tmp_path, name)
    assert not list(tmp_path.iterdir())
