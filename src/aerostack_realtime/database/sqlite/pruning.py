"""Pruning of the change log, in steps small enough that writers are not held up."""

from typing import cast

import apsw

from aerostack_realtime.database.sqlite.changelog import LAYOUTS, WATCHED, number
from aerostack_realtime.database.sqlite.triggers import CHANGES

STEP = 1_000
"""Entries per transaction: some 5 ms of the write lock."""


def prune(connection: apsw.Connection, given: int, keep: int, oldest: int) -> int:
    """Delete up to STEP of the oldest entries at or below position `given`; returns how many.

    An entry is deleted when it is older than `oldest` (ms) or when more than `keep` entries follow it. Runs in the
    caller's transaction.
    """
    rows = connection.execute(f"SELECT id, at FROM {CHANGES} ORDER BY id LIMIT {STEP}").fetchall()
    newest = number(connection, f"SELECT max(id) FROM {CHANGES}") or 0
    last = None
    for position, at in cast("list[tuple[int, int]]", rows):
        if position > given or (at >= oldest and newest - position < keep):
            break
        last = position
    if last is None:
        return 0
    connection.execute(
        f"UPDATE {WATCHED} SET start = max(start, coalesce((SELECT max(id) FROM {CHANGES} WHERE id <= ?1 "
        f"AND layout IN (SELECT id FROM {LAYOUTS} WHERE name = {WATCHED}.name)), 0))",
        (last,),
    )
    connection.execute(f"DELETE FROM {CHANGES} WHERE id <= ?", (last,))
    deleted = connection.changes()
    if deleted < STEP:
        _forget_layouts(connection)
    return deleted


def clear(connection: apsw.Connection, name: str, after: int) -> int | None:
    """Delete an unwatched table's entries among the next STEP after a position, but not those of a new watch.

    Returns the position to continue from, or None when no entry of the table is left.
    """
    forgotten = (
        f"SELECT id FROM {LAYOUTS} WHERE name = ?1 "
        f"AND id NOT IN (SELECT layout FROM {WATCHED} WHERE layout IS NOT NULL)"
    )
    until = after + STEP
    connection.execute(
        f"DELETE FROM {CHANGES} WHERE id > ?2 AND id <= ?3 AND layout IN ({forgotten})", (name, after, until)
    )
    following = number(connection, f"SELECT min(id) FROM {CHANGES} WHERE id > ?", until)
    if following is not None:
        return following - 1
    connection.execute(f"DELETE FROM {LAYOUTS} WHERE id IN ({forgotten})", (name,))
    return None


def _forget_layouts(connection: apsw.Connection) -> None:
    """Delete the layouts that neither an entry nor a watched table's triggers use."""
    connection.execute(
        f"DELETE FROM {LAYOUTS} WHERE id NOT IN (SELECT layout FROM {WATCHED} WHERE layout IS NOT NULL) "
        f"AND NOT EXISTS (SELECT 1 FROM {CHANGES} AS c WHERE c.layout = {LAYOUTS}.id)"
    )
