"""The splitter against the server: the number of results of one simple query is the truth (M5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import ExecStatus

from persistence.migration_errors import Misconfigured
from persistence.migration_splitter import scan, split

if TYPE_CHECKING:
    from collections.abc import Iterator

ORACLE = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def server(admin: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(admin.info.dsn, password=admin.info.password, autocommit=True) as conn:
        conn.execute("SET client_min_messages = error; CREATE TEMP TABLE t (x int)")
        yield conn


def results(conn: psycopg.Connection[Any], text: str) -> int | None:
    """Return how many statements the server saw in `text`, or None if it refused one."""
    conn.pgconn.send_query(text.encode())
    found: list[int] = []
    while result := conn.pgconn.get_result():
        found.append(result.status)
    if ExecStatus.FATAL_ERROR in found:
        return None
    return len(found) - found.count(ExecStatus.EMPTY_QUERY)


# Whatever could begin or end something: the content of every literal below.
TRAPS = st.lists(
    st.sampled_from(
        [";", "'", '"', "\\", "--", "/*", "*/", "$$", "$a$", "\n", "\r\n", " ", "é", "END", "BEGIN"]
    ),
    max_size=6,
).map("".join)
GAPS = st.lists(
    st.sampled_from([" ", "\n", "\t", "-- c;'\n", "/* ; /* ' */ \" */", "--$$\r\n", "/**/"]),
    max_size=3,
).map(lambda parts: " " + "".join(parts))


def no_nul_escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


LITERALS = st.one_of(
    TRAPS.map(lambda s: "'" + s.replace("'", "''") + "'"),
    TRAPS.map(lambda s: "e'" + no_nul_escape(s) + "'"),
    TRAPS.map(lambda s: "E'" + s.replace("\\", "\\\\").replace("'", "''") + "'"),
    st.tuples(TRAPS, TRAPS).map(
        lambda p: f"E'{no_nul_escape(p[0])}' -- ';\n\t-- \\'\n'{no_nul_escape(p[1])}'"
    ),
    st.tuples(TRAPS, TRAPS).map(
        lambda p: "\n".join("'" + s.replace("'", "''") + "'" for s in p)  # standard, continued
    ),
    TRAPS.map(lambda s: "U&'" + s.replace("\\", "").replace("'", "''") + "'"),
    TRAPS.map(lambda s: "$q$" + s + "$q$"),
    TRAPS.map(lambda s: "$é_1$" + s + "$é_1$"),
    st.sampled_from(
        ["1", "1.5e3", "CASE WHEN true THEN 1 END", "$$;$$", "(SELECT 1)", "-1", "4/-2"]
    ),
)
NAMES = st.one_of(
    TRAPS.map(lambda s: '"' + (s + "x").replace('"', '""') + '"'),
    TRAPS.map(lambda s: 'U&"' + (s + "x").replace("\\", "").replace('"', '""') + '"'),
    st.sampled_from(["a$b$c", "begin", "atomic", "é", "case", "X"]),
)
SELECTS = st.builds(
    lambda gap, literal, name, labels: f"SELECT{gap}{literal}{gap}AS {name}, 1 {labels}",
    GAPS,
    LITERALS,
    NAMES,
    st.sampled_from(["AS end", "end", "AS atomic", "", "case"]),
)
BODIES = st.lists(SELECTS, max_size=2).map(
    lambda inner: (
        "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN /* ; */ ATOMIC\n"
        + "".join(f"{text};" for text in inner)
        + "SELECT CASE WHEN true THEN 1 END; /* END */ END"
    )
)
RULES = st.builds(
    "CREATE OR REPLACE RULE r AS ON UPDATE TO t DO ALSO ({}; {})".format, SELECTS, SELECTS
)
DO_BLOCKS = TRAPS.map(lambda s: "DO $do$ BEGIN /* ; */ PERFORM $q$" + s + "$q$; END $do$")
STATEMENTS = st.one_of(SELECTS, BODIES, RULES, DO_BLOCKS)
SEPARATORS = st.builds(
    lambda gap, marks: f"{gap}{marks}{gap}", GAPS, st.sampled_from([";", ";;", "; ;"])
)


@ORACLE
@given(st.lists(st.tuples(STATEMENTS, SEPARATORS), min_size=1, max_size=5))
def test_valid_scripts_split_where_the_server_splits(
    server: psycopg.Connection[Any], script: list[tuple[str, str]]
) -> None:
    """M5: as many pieces as the server has results, and each piece is one statement to it."""
    text = "".join(statement + separator for statement, separator in script)
    pieces, _ = split(text)
    assert len(pieces) == len(script)
    assert len(pieces) == results(server, text)
    assert {results(server, piece.text) for piece in pieces} == {1}


SOUP = st.lists(
    st.sampled_from(
        [
            "SELECT 1",
            ";",
            ";",
            "'",
            "''",
            "E'",
            "\\",
            "$$",
            "$a$",
            "--",
            "\n",
            "/*",
            "*/",
            '"',
            " AS x",
            "(",
            ")",
            "U&'",
            "$1",
            "1",
            "e",
            "::text",
            ", 2",
            "'a'",
        ]
    ),
    min_size=1,
    max_size=12,
).map(lambda parts: "SELECT 1;" + "".join(parts))


@ORACLE
@given(SOUP)
def test_whatever_the_server_accepts_is_split_as_it_does(
    server: psycopg.Connection[Any], text: str
) -> None:
    """M5: no accepted text is split in another way, however it looks."""
    expected = results(server, text)
    try:
        pieces, _ = split(text)
    except Misconfigured:
        assert expected is None
    else:
        assert expected in {None, len(pieces)}


@pytest.mark.parametrize("opened", ["'a", "E'a\\'", '"a', "/* /* */", "$$ $a$", "$a$ $$"])
def test_what_is_never_closed_is_refused_with_its_line(opened: str) -> None:
    """M5: a file that ends within a literal or a comment is not run in part."""
    with pytest.raises(Misconfigured, match=r"line 2: .* is never closed"):
        split(f"SELECT 1;\nSELECT {opened}")


def test_a_statement_knows_its_place_and_its_text() -> None:
    """M5: number and line count from 1; the semicolon and comments around are not part of it."""
    first, second = split("-- a\nSELECT 1 ;\n\n/* b */ SELECT\n2 -- c\n;")[0]
    assert (first.number, first.line, first.text) == (1, 2, "SELECT 1")
    assert (second.number, second.line, second.text) == (2, 4, "SELECT\n2")


def test_only_comments_before_the_first_statement_lead() -> None:
    """M3: directives are looked for there."""
    _, comments = split("-- a\n/* b */ -- c\nSELECT 1 -- d\n; -- e")
    assert [(c.text, c.line, c.leading) for c in comments] == [
        ("-- a", 1, True),
        ("-- c", 2, True),
        ("-- d", 3, False),
        ("-- e", 4, False),
    ]


def test_only_ascii_letters_fold() -> None:
    """M5: the server folds ASCII alone; the Kelvin sign is no K."""
    assert [token.word for token in scan("DROP \u212aEY 'x'")] == ["drop", "\u212aey", ""]


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN ATOMIC",
        "CREATE OR REPLACE OR BEGIN ATOMIC",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END",
        "CREATE PROCEDURE f(begin atomic) BEGIN ATOMIC END",
    ],
)
def test_begin_atomic_counts_only_in_a_routine(text: str) -> None:
    """M5: `begin atomic` may also be a column with a label, or an argument with a type."""
    assert len(split(f"{text}; SELECT 2")[0]) == 2
