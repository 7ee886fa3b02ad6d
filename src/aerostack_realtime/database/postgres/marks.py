"""The high-water mark of positions: where it is stored and announced, and how it shows a restored backup."""

from __future__ import annotations

from typing import Final, NamedTuple

from aerostack_realtime.database.postgres.migrations import SCHEMA

RESTORED: Final = "The database was restored from a backup just now. Try again in a moment."
ANNOUNCED_BY_NODE: Final = "next_mark."


class Marks(NamedTuple):
    """The high-water mark of positions, and the one that is to be stored next: it is `next` before it is `stored`.

    So that a reply that is lost together with the database hides nothing: when a mark is stored, its node already
    knows that it was announced, and a backup without it lacks that.
    """

    stored: int = 0
    next: int = 0

    def lack(self, known: Marks) -> bool:
        """Whether a database with these marks was restored from a backup, because others are known to have been
        stored there."""
        return self.stored < known.stored or self.next < known.next

    def raised(self, to: Marks) -> Marks:
        return Marks(max(self.stored, to.stored), max(self.next, to.next))


def announced_in(node: str | None) -> str:
    """The key of the mark that is announced: one of its own for each node of a cluster, so that no other node's
    marks hide from it that the database was restored from a backup."""
    return "next_mark" if node is None else f"{ANNOUNCED_BY_NODE}{node}"


def marks_sql(key: str) -> str:
    """The query of both marks; `key` is the parameter with the key of the announced one."""
    return f"""SELECT coalesce(max(value::bigint) FILTER (WHERE key = 'high_water'), 0) AS stored_mark,
  coalesce(max(value::bigint) FILTER (WHERE key = {key}::text), 0) AS next_mark
  FROM {SCHEMA}.meta WHERE key IN ('high_water', {key}::text)"""


MARKS = marks_sql("$1")
_RAISE = "ON CONFLICT (key) DO UPDATE SET value = greatest(m.value::bigint, excluded.value::bigint)::text"
_RAISE_ONE = f"""INSERT INTO {SCHEMA}.meta AS m SELECT {{key}}, $1::bigint::text FROM ({marks_sql("$4")}) AS marks
  WHERE stored_mark >= $2::bigint AND next_mark >= $3::bigint {_RAISE}"""
RAISE_NEXT_MARK = _RAISE_ONE.format(key="$4::text")
RAISE_MARK = _RAISE_ONE.format(key="'high_water'")
"""Unless the marks lack the known ones: then the database was restored from a backup."""
RESTORE_MARKS = f"""INSERT INTO {SCHEMA}.meta AS m
  VALUES ('high_water', $1::bigint::text), ($3::text, $2::bigint::text) {_RAISE}"""
