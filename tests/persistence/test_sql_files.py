"""Files of the SQL catalogue: what they must say, and what of them goes to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from persistence import sql_files
from persistence.sql_files import Param, SqlFileError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
-- t/find: look for it.
-- why: a test
-- needs one.
-- params: tenant_id text, ids uuid[], amount bigint?,
--   code char(3)
-- kind: write | returns: 0..1 | locks: none
-- claims: key
SELECT :'tenant_id'::text, :'ids'::uuid [], :'amount'::bigint, :'code'::char(3), :'amount'::bigint;
"""


def load(root: Path, text: str) -> sql_files.SqlFile:
    (root / "t").mkdir(exist_ok=True)
    (root / "t" / "find.sql").write_text(text, "utf-8")
    return sql_files.load("t/find", root)


def faults(root: Path, text: str) -> list[str]:
    with pytest.raises(SqlFileError) as raised:
        load(root, text)
    return raised.value.faults


def body(text: str, params: str = "a text") -> str:
    return f"-- t/find: x.\n-- why: x\n-- params: {params}\n-- kind: read | returns: one\n{text}"


def test_a_header_says_everything(tmp_path: Path) -> None:
    """AQ4: items on lines of their own or parted by bars; a line without a key goes on."""
    file = load(tmp_path, GOOD)
    assert (file.name, file.kind, file.returns) == ("t/find", "write", "0..1")
    assert (file.scan, file.claims) == (None, "key")
    assert file.params == (
        Param(name="tenant_id", type="text", nullable=False),
        Param(name="ids", type="uuid[]", nullable=False),
        Param(name="amount", type="bigint", nullable=True),
        Param(name="code", type="char(3)", nullable=False),
    )


def test_the_server_gets_the_file_with_numbers_for_names(tmp_path: Path) -> None:
    """AQ2, AQ5: the header goes along, a name used twice has one number."""
    header, _, statement = load(tmp_path, GOOD).query.rpartition("\n-- claims: key\n")
    assert header.startswith("-- t/find: look for it.")
    assert statement == "SELECT $1::text, $2::uuid [], $3::bigint, $4::char(3), $3::bigint;\n"


def test_literals_comments_casts_and_percents_stay_as_they_are(tmp_path: Path) -> None:
    """AQ2: psql leaves them alone too."""
    text = (
        "SELECT ':a', 'it''s :a', E'\\':a', \":a\", $$:'a';$$, $x$ $$ :a; $x$, x::text, 5 % 2,\n"
        "  /* :a; */ '%(a)s' -- 100 % :a;\n, :'a'::text;\n"
    )
    file = load(tmp_path, body(text))
    assert file.query.endswith(text.replace(":'a'::text;\n", "$1::text;\n"))


@pytest.mark.parametrize(
    "wrong", [":a", ':"a"', "$1", ":{?a}", "\\gset", ":'a b'", "'open", '"open', "/* open"]
)
def test_what_psql_or_the_server_would_read_otherwise_is_refused(
    tmp_path: Path, wrong: str
) -> None:
    """AQ2."""
    assert any("is refused" in fault for fault in faults(tmp_path, body(f"SELECT {wrong} ;")))


@pytest.mark.parametrize("comment", ["-- :'a'::text\n", "/* :'a'::text */"])
def test_a_parameter_in_a_comment_is_refused(tmp_path: Path, comment: str) -> None:
    """AQ2."""
    text = body(f"SELECT :'a'::text {comment};")
    assert faults(tmp_path, text) == ["a comment contains :' (AQ2)"]


@pytest.mark.parametrize("text", ["SELECT 1", "SELECT 1; SELECT 2;", "SELECT 1; SELECT 2"])
def test_a_file_is_one_statement(tmp_path: Path, text: str) -> None:
    """AQ1."""
    assert faults(tmp_path, body(text, "none")) == ["a file is one statement, ended by ; (AQ1)"]


@pytest.mark.parametrize(
    "use", [":'a'", ":'a'::bigint", ":'a' ::text", ":'a'::textual", ":'a'::text[]", "(:'a')::text"]
)
def test_a_parameter_is_cast_to_its_type_where_it_stands(tmp_path: Path, use: str) -> None:
    """AQ3."""
    text = body(f"SELECT {use};")
    assert faults(tmp_path, text) == [":'a' must be cast where it stands: ::text (AQ3)"]


def test_a_cast_to_an_element_is_not_a_cast_to_an_array(tmp_path: Path) -> None:
    """AQ3."""
    assert faults(tmp_path, body("SELECT :'a'::text;", "a text[]"))


def test_header_and_text_name_the_same_parameters(tmp_path: Path) -> None:
    """AQ4."""
    assert faults(tmp_path, body("SELECT :'b'::text;")) == [
        ":'b' is not in 'params' (AQ4)",
        "parameter a is never used (AQ4)",
    ]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """AQ4: a missing line, a wrong value, a line twice, a parameter without type, one twice."""
    text = (
        "-- t/other: x.\n-- lost words\n-- params: a, b text, b text\n-- kind: maybe\n"
        "-- returns: one\n-- returns: two\n-- claims: key\nSELECT :'b'::text;"
    )
    assert faults(tmp_path, text) == [
        "the first line must be '-- t/find: what it does' (AQ4)",
        "the header says 'returns' twice (AQ4)",
        "the header lacks 'why' (AQ4)",
        "'kind' is one of read, write (AQ4)",
        "'returns' is one of one, 0..1, many, count (AQ4)",
        "'claims' is for writes (AQ4)",
        "'params' has 'a', not 'name type' or 'name type?' (AQ4)",
        "'params' names one twice (AQ4)",
    ]


def test_a_file_without_a_header_is_told_so(tmp_path: Path) -> None:
    """AQ4."""
    assert "the header lacks 'kind' (AQ4)" in faults(tmp_path, "SELECT 1;")
    assert faults(tmp_path, "")[-1] == "a file is one statement, ended by ; (AQ1)"


def test_a_write_says_what_it_locks(tmp_path: Path) -> None:
    """AQ4."""
    text = body("SELECT 1;", "none").replace("kind: read", "kind: write")
    assert faults(tmp_path, text) == ["the header lacks 'locks' (AQ4)"]


def test_two_parameters_may_be_null_and_texts_besides(tmp_path: Path) -> None:
    """AQ10: the NULL of a text has the same prepared variant as its values."""
    use = "SELECT :'a'::text, :'b'::uuid, :'c'::uuid, :'d'::uuid;"
    load(tmp_path, body(use, "a text?, b uuid?, c uuid?, d uuid"))
    assert faults(tmp_path, body(use, "a text?, b uuid?, c uuid?, d uuid?")) == [
        "more than 2 parameters that are not text may be NULL (AQ10)"
    ]


def test_a_missing_file_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SqlFileError, match=r"sql/t/lost\.sql: there is no such file"):
        sql_files.load("t/lost", tmp_path)


def test_names_are_those_of_statements_only(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    for folder in ("checks", "migrations"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.sql").touch()
    (tmp_path / "grants.sql").touch()
    assert sql_files.names(tmp_path) == ["t/find"]
