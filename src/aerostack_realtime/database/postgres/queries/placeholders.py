"""Translates `?` placeholders to PostgreSQL's `$1`, `$2`, …: where a `?` is one, and where it is not.

Pure. The tokens are those of PostgreSQL's scanner (src/backend/parser/scan.l, `standard_conforming_strings` on).
A `?` is a placeholder unless it stands in a string, a quoted name, a dollar-quoted body or a comment, or is part
of the operators `?|`, `?&` and `@?`. The operator `?` of jsonb is written `??`, as JDBC writes it. `?||` and `?&&`
are a placeholder before `||` and `&&`: no operator begins so.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from aerostack_realtime.protocol.errors import BadMessage

WORDS: Final = 4
"""How many of the first words are returned: enough to recognize the kind of statement."""

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*+(?:'|\Z)"
_TOKEN = re.compile(
    rf"""
      (?P<space> [ \t\n\r\f\v]++ | --[^\n\r]*+ )
    | (?P<comment> /\* )
    | (?P<text> [eE]{_ESCAPED} (?: [ \t\f\v]*+ [\n\r] [ \t\n\r\f\v]*+ {_ESCAPED} )*+
              | '(?:[^']|'')*+(?:'|\Z)
              | (?P<tag> \$ (?:[{_LETTER}][{_LETTER}0-9]*+)? \$ ) .*? (?:(?P=tag)|\Z) )
    | (?P<quoted> "(?:[^"]|"")*+(?:"|\Z) )
    | (?P<word> [{_LETTER}][{_LETTER}0-9$]*+ )
    | (?P<numbered> \$\d++ | \?\d++ )
    | (?P<bare> \?\? )
    | (?P<operator> <@ | @> | @@ | @\? | \?\|(?!\|) | \?&(?!&) )
    | (?P<placeholder> \? )
    | (?P<end> ; )
    | (?P<other> \d[\w.]*+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_NAME = re.compile(rf"[{_LETTER}0-9$]")


class Statement(Struct, frozen=True):
    """SQL as PostgreSQL reads it. `words`: the first ones, unquoted and in capitals; a quoted name is '"'.
    `several`: something follows a semicolon."""

    sql: str
    placeholders: int
    words: tuple[str, ...]
    several: bool


def translate(sql: str) -> Statement:
    """Raises BadMessage for a numbered parameter."""
    parts: list[str] = []
    words: list[str] = []
    count = depth = position = 0
    ended = several = False
    begun = False
    while found := _TOKEN.match(sql, position):
        position = found.end()
        kind, token = str(found.lastgroup), found[0]
        if kind == "comment":
            position = _comment_end(sql, position)
            parts.append(sql[found.start() : position])
            continue
        if kind == "numbered":
            raise BadMessage(f"Parameters are not numbered here: write ? instead of {token}, one for each.")
        if kind == "placeholder":
            count += 1
            token = _apart(sql, found.start(), position, f"${count}")
        elif kind == "bare":
            token = "?"
        elif kind == "word" and len(words) < WORDS:
            words.append(token.upper())
        elif kind == "quoted" and len(words) < WORDS:
            words.append('"')
        depth += (token == "(") - (token == ")")
        if kind == "end":
            ended = ended or (begun and depth == 0)
        elif kind != "space":
            several = several or ended
            begun = True
            # A function's body may be statements: BEGIN ATOMIC …; …; END (PostgreSQL 14)
            depth += kind == "word" and token.upper() == "ATOMIC"
        parts.append(token)
    return Statement("".join(parts), count, tuple(words), several)


def _comment_end(sql: str, position: int) -> int:
    """The end of a block comment that began before `position`; block comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position


def _apart(sql: str, start: int, end: int, parameter: str) -> str:
    """The parameter, with a space where it would merge with an adjacent name."""
    before = " " if start and _NAME.match(sql, start - 1) else ""
    after = " " if _NAME.match(sql, end) else ""
    return f"{before}{parameter}{after}"
