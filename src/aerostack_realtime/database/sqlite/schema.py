"""What SQLite knows of a user's table: columns, identity, unique keys.

The unique keys are what a REPLACE can hit, so the triggers look conflicting rows up by them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

import apsw
from msgspec import Struct

from aerostack_realtime.protocol.errors import NotFound

PREFIX = "_aerostack_"
"""The prefix of all our tables and triggers."""

MAX_COLUMNS = 990
"""The log holds two values per column; SQLite allows a table 2,000."""


class Term(Struct, frozen=True):
    """One term of a unique key: a column's name or an expression's SQL, compared by `collation`."""

    column: str | None
    expression: str
    collation: str


class Key(Struct, frozen=True):
    """A unique key; `condition` is the SQL of a partial index's WHERE."""

    terms: tuple[Term, ...]
    condition: str | None = None


class Table(Struct, frozen=True):
    """A table as the triggers need it.

    `identity` are the columns that distinguish its rows: the rowid by a name that no column uses, or the primary
    key of a WITHOUT ROWID table; empty when columns use all names of the rowid. `named_by` are the columns that
    distinguish rows for a subscriber: the primary key, else columns that are unique and NOT NULL; empty when there
    are none.
    """

    name: str
    columns: tuple[str, ...]
    identity: tuple[str, ...]
    keys: tuple[Key, ...]
    named_by: tuple[str, ...]


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def read_table(connection: apsw.Connection, name: str) -> Table | None:
    """The table spelled exactly `name`, None when there is none. Raises NotFound for views and virtual tables."""
    found = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
        (name,),
    ).fetchall()
    if not found or name.lower().startswith(("sqlite_", PREFIX)):
        return None
    kind, spelt, sql = found[0]
    if kind == "view":
        raise NotFound(f"{name!r} is a view: subscribe to the tables behind it.")
    if spelt != name:
        raise NotFound(f"There is no table {name!r}; there is {spelt!r}.")
    if re.match(r"\s*CREATE\s+VIRTUAL\b", str(sql), re.IGNORECASE):
        raise NotFound(f"{name!r} is a virtual table and cannot be watched: virtual tables have no triggers.")
    if _is_shadow(connection, name):
        raise NotFound(f"{name!r} belongs to a virtual table: it cannot be watched.")
    info = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
    columns = tuple(str(row[1]) for row in info)
    if len(columns) > MAX_COLUMNS:
        raise NotFound(f"{name!r} has more than {MAX_COLUMNS} columns: it cannot be watched.")
    identity = _identity(connection, name, columns)
    keys = list(_index_keys(connection, name))
    if identity and not _without_rowid(connection, name):
        keys.insert(0, Key((Term(identity[0], "", "BINARY"),)))
    primary = tuple(str(row[1]) for row in sorted(info, key=lambda row: int(row[5])) if row[5])  # type: ignore[arg-type]
    filled = {str(row[1]) for row in info if row[3]}
    return Table(name, columns, identity, tuple(keys) if identity else (), primary or _named_by(keys, filled))


def _named_by(keys: Iterable[Key], filled: Container[str]) -> tuple[str, ...]:
    """The columns of the first unique key that covers all rows."""
    for key in keys:
        names = tuple(term.column for term in key.terms if term.column is not None and term.column in filled)
        if len(names) == len(key.terms) and key.condition is None:
            return names
    return ()


def _is_shadow(connection: apsw.Connection, name: str) -> bool:
    rows = connection.execute("SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?", (name,))
    return any(row[0] == "shadow" for row in rows)


def _without_rowid(connection: apsw.Connection, name: str) -> bool:
    rows = connection.execute("SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (name,))
    return any(row[0] for row in rows)


def _identity(connection: apsw.Connection, name: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    if _without_rowid(connection, name):
        info = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
        return tuple(str(row[1]) for row in sorted(info, key=lambda row: int(row[5])) if row[5])  # type: ignore[arg-type]
    taken = {column.lower() for column in columns}
    return next(((alias,) for alias in ("rowid", "_rowid_", "oid") if alias not in taken), ())


def _index_keys(connection: apsw.Connection, table: str) -> Iterator[Key]:
    indexes = connection.execute(f"PRAGMA index_list({quote(table)})").fetchall()
    for _, index, unique, _origin, _partial in sorted(indexes, key=lambda row: str(row[1])):
        if not unique:
            continue
        row = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (index,)
        ).fetchone()
        expressions, condition = index_terms(str(row[0])) if row and row[0] else ([], None)
        terms = []
        for number, _, column, _, collation, is_key in connection.execute(
            f"PRAGMA index_xinfo({quote(str(index))})"
        ).fetchall():
            if is_key:
                expression = "" if column is not None else expressions[int(number)]  # type: ignore[arg-type]
                terms.append(Term(None if column is None else str(column), expression, str(collation)))
        yield Key(tuple(terms), condition)


_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|\s+|.""",
    re.DOTALL,
)


def index_terms(sql: str) -> tuple[list[str], str | None]:
    """The terms of a CREATE INDEX statement without ASC and DESC, and its WHERE condition."""
    tokens = [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*"))]
    terms: list[str] = []
    term = ""
    depth = 0
    rest = ""
    for number, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == "(" and depth == 1:
            continue
        closing = token == ")" and depth == 0
        if closing or (token == "," and depth == 1):
            terms.append(re.sub(r"\s+(ASC|DESC)\s*$", "", term, flags=re.IGNORECASE).strip())
            term = ""
        elif depth:
            term += token
        if closing:
            rest = "".join(tokens[number + 1 :]).strip()
            break
    condition = re.match(r"WHERE\b(.*)", rest, re.DOTALL | re.IGNORECASE)
    return terms, condition.group(1).strip() if condition else None
