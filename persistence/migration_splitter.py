"""Splits SQL text into statements exactly where the server does (M5).

The tokens follow PostgreSQL's scan.l; the oracle of the tests is the server's number of results.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from persistence.migration_errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = r"A-Za-z_\u0080-\U0010ffff"
_TAG = rf"(?:[{_START}][{_START}0-9]*)?"
_ESCAPED = r"'(?:[^'\\]|''|\\.)*+'"
# An E string goes on after a line break, with its backslashes still in force.
_CONTINUED = r"(?:[ \t\f\v]|--[^\n\r]*)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*+"

_TOKEN = re.compile(
    rf"""
      (?P<space>    [ \t\n\r\f\v]+ )
    | (?P<comment>  --[^\n\r]* )
    | (?P<block>    /\* )
    | (?P<string>   [eE]{_ESCAPED}(?:{_CONTINUED}{_ESCAPED})*+
                  | (?:[uU]&|[bBnNxX])?'(?:[^']|'')*+' )
    | (?P<quoted>   (?:[uU]&)?"(?:[^"]|"")*+" )
    | (?P<dollar>   \$(?P<tag>{_TAG})\$.*?\$(?P=tag)\$ )
    | (?P<open>     [eE]?' | " | \${_TAG}\$ )
    | (?P<word>     [{_START}][{_START}0-9$]* )
    | (?P<number>   [0-9][0-9A-Za-z_.]* )
    | (?P<mark>     :: | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Token(NamedTuple):
    """One token: `text` is text[start:end] of the file; words keep their case."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset after the token."""
        return self.start + len(self.text)

    @property
    def word(self) -> str:
        """The keyword or name as the server folds it, or "" if the token is none."""
        return self.text.translate(_ASCII_LOWER) if self.kind == "word" else ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon; `number` and `line` count from 1."""

    number: int
    line: int
    text: str
    tokens: tuple[Token, ...]

    @property
    def sha256(self) -> bytes:
        """Tells on a rerun whether a statement that was done has changed since (M14)."""
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Comment:
    """A `--` comment; `leading` says that no statement began before it."""

    line: int
    text: str
    leading: bool


def split(text: str) -> tuple[list[Statement], list[Comment]]:
    """Return the statements and the line comments of `text`; raises Misconfigured."""
    statements: list[Statement] = []
    comments: list[Comment] = []
    cut = _Cut()
    for token in scan(text):
        if token.kind == "comment":
            leading = not statements and not cut.tokens
            comments.append(Comment(_line(text, token.start), token.text, leading))
        elif cut.ends_before(token):
            _close(text, cut.tokens, statements)
            cut = _Cut()
        else:
            cut.add(token)
    _close(text, cut.tokens, statements)
    return statements, comments


def scan(text: str) -> Iterator[Token]:
    """Yield every token but white space and block comments; raises Misconfigured."""
    position = 0
    while match := _TOKEN.match(text, position):
        kind, position = str(match.lastgroup), match.end()
        if kind == "block":
            position = _block_end(text, match.start())
        elif kind == "open":
            raise Misconfigured(f"line {_line(text, match.start())}: {match[0]} is never closed")
        elif kind != "space":
            yield Token(kind, match[0], match.start())


def _block_end(text: str, start: int) -> int:
    """Return the offset after the block comment that begins at `start`: they nest."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise Misconfigured(f"line {_line(text, start)}: /* is never closed")


class _Cut:
    """The statement being read: how deep in parentheses and in BEGIN ATOMIC bodies it is."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.parens = 0
        self.bodies = 0

    def ends_before(self, token: Token) -> bool:
        # CREATE RULE has semicolons between parentheses, a BEGIN ATOMIC body between its words.
        return token.text == ";" and not self.parens and not self.bodies

    def add(self, token: Token) -> None:
        before = self.tokens[-1] if self.tokens else token
        if token.kind == "mark":
            self.parens = max(0, self.parens + (token.text == "(") - (token.text == ")"))
        elif self.parens:
            pass
        elif token.word == "atomic" and before.word == "begin" and self._is_routine():
            self.bodies += 1
        # END closes the body only where a statement could begin; elsewhere it ends a CASE.
        elif token.word == "end" and self.bodies and {before.text, before.word} & {";", "atomic"}:
            self.bodies -= 1
        self.tokens.append(token)

    def _is_routine(self) -> bool:
        words = [token.word for token in self.tokens[:4] if token.word not in {"or", "replace"}]
        return words[:2] in (["create", "function"], ["create", "procedure"])


def _close(text: str, tokens: list[Token], statements: list[Statement]) -> None:
    if tokens:
        start, end = tokens[0].start, tokens[-1].end
        number, line = len(statements) + 1, _line(text, start)
        statements.append(Statement(number, line, text[start:end], tuple(tokens)))


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
