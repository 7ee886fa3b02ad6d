"""The table of messages: its layout, its statements, and its rows as messages. Streams are rows that grow."""

from __future__ import annotations

import json
from collections.abc import Sequence

import apsw
from msgspec import Raw

from aerostack_realtime.database.message_store import NewMessage, StoredMessage, StreamProgress
from aerostack_realtime.database.sqlite import changelog
from aerostack_realtime.database.sqlite.schema import PREFIX

MESSAGES = f"{PREFIX}messages"
PRUNE_STEP = 1_000
COLUMNS = "topic, id, user_id, event, data, position, created_at, n, state, ended"

_LAYOUT = f"""
CREATE TABLE IF NOT EXISTS {MESSAGES}(
  topic TEXT NOT NULL, created_at INTEGER NOT NULL, position INTEGER NOT NULL,
  id TEXT NOT NULL, user_id TEXT NOT NULL, event TEXT NOT NULL, data BLOB NOT NULL,
  n INTEGER, state TEXT, ended INTEGER, compacts INTEGER,
  PRIMARY KEY(topic, created_at)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS {MESSAGES}_by_id ON {MESSAGES}(topic, user_id, id);
"""
_LATER_INDEXES = f"""
CREATE INDEX IF NOT EXISTS {MESSAGES}_by_end ON {MESSAGES}(topic, ended) WHERE ended > 0;
CREATE INDEX IF NOT EXISTS {MESSAGES}_open ON {MESSAGES}(topic, created_at) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS {MESSAGES}_compacting ON {MESSAGES}(topic, event, position) WHERE compacts IS NOT NULL;
"""
_LATER_COLUMNS = {"n": "INTEGER", "state": "TEXT", "ended": "INTEGER", "compacts": "INTEGER"}
_INSERT = f"""INSERT INTO {MESSAGES}(
    topic, created_at, position, id, user_id, event, data, n, state, ended, compacts)
  VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(topic, user_id, id) DO NOTHING"""
_UPDATE = f"""UPDATE {MESSAGES} SET data = ?, n = ?, state = ?, ended = ?
  WHERE topic = ? AND user_id = ? AND id = ? AND state = 'open' AND (n <= ? OR ? <> 'open')"""
_HISTORY = f"SELECT {COLUMNS} FROM {MESSAGES} WHERE topic = ? AND created_at < ? ORDER BY created_at DESC LIMIT ?"
_AFTER = f"""SELECT * FROM (
    SELECT {COLUMNS} FROM {MESSAGES} WHERE topic = ?1 AND created_at >= ?2 AND position > ?3 AND position <= ?4
      AND state IS NULL ORDER BY created_at LIMIT ?5)
  UNION ALL SELECT * FROM (
    SELECT {COLUMNS.replace("position", "ended")} FROM {MESSAGES} WHERE topic = ?1 AND ended > ?3 AND ended <= ?4
      AND ended > 0 ORDER BY ended LIMIT ?5)
  ORDER BY 6 LIMIT ?5"""
"""`created_at` is never below the millisecond of a message's position."""


def lay_out(connection: apsw.Connection) -> None:
    """Create the table of messages if it is missing; add the columns that a table of an earlier version lacks."""
    connection.execute(_LAYOUT)
    present = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({MESSAGES})")}
    for column, kind in _LATER_COLUMNS.items():
        if column not in present:
            connection.execute(f"ALTER TABLE {MESSAGES} ADD COLUMN {column} {kind}")
    connection.execute(_LATER_INDEXES)


def insert(connection: apsw.Connection, message: NewMessage, created_at: int) -> bool:
    """Whether the message was new."""
    stream = message.stream
    connection.execute(
        _INSERT,
        (
            message.topic,
            created_at,
            message.position,
            message.id,
            message.user_id,
            message.event,
            bytes(message.data),
            *((None, None, None) if stream is None else (stream.n, stream.state, stream.ended)),
            message.compacts or None,
        ),
    )
    return connection.changes() > 0


def is_compacted_later(connection: apsw.Connection, message: NewMessage) -> bool:
    """Whether there is a compaction from after the position that `message` compacts up to."""
    found = connection.execute(
        f"SELECT 1 FROM {MESSAGES} WHERE topic = ? AND event = ? AND compacts IS NOT NULL AND position > ?",
        (message.topic, message.event, message.compacts),
    )
    return found.fetchone() is not None


def remove_compacted(connection: apsw.Connection, message: NewMessage) -> None:
    """Delete what `message` replaces, but no open stream."""
    connection.execute(
        f"DELETE FROM {MESSAGES} WHERE topic = ?1 AND event = ?2 "
        "AND (state IS NULL AND position <= ?3 OR ended > 0 AND ended <= ?3) "
        "AND position NOT IN (SELECT value FROM json_each(?4))",
        (message.topic, message.event, message.compacts, json.dumps(message.keeps)),
    )


def update(connection: apsw.Connection, message: StoredMessage) -> bool:
    """Store how far a stream is. Whether it is stored at all."""
    stream = message.stream
    assert stream is not None, "only streams grow"
    key = (message.topic, message.user_id, message.id)
    progress = (bytes(message.data), stream.n, stream.state, stream.ended)
    connection.execute(_UPDATE, (*progress, *key, stream.n, stream.state))
    return connection.changes() > 0 or find(connection, *key) is not None


def find(connection: apsw.Connection, topic: str, user_id: str, id: str) -> StoredMessage | None:
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM {MESSAGES} WHERE topic = ? AND user_id = ? AND id = ?", (topic, user_id, id)
    ).fetchall()
    return _stored(rows[0]) if rows else None


def history(connection: apsw.Connection, topic: str, until: int, limit: int) -> list[StoredMessage]:
    return [_stored(row) for row in connection.execute(_HISTORY, (topic, until, limit))]


def after(connection: apsw.Connection, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
    rows = connection.execute(_AFTER, (topic, position // 1000, position, until, limit))
    return [_stored(row) for row in rows]


def compacted(connection: apsw.Connection, topic: str) -> int:
    """The position of the newest message that replaced others; 0 when there is none."""
    newest = f"SELECT max(position) FROM {MESSAGES} WHERE topic = ? AND compacts IS NOT NULL"
    return changelog.number(connection, newest, topic) or 0


def open_streams(connection: apsw.Connection) -> list[StoredMessage]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM {MESSAGES} WHERE state = 'open' ORDER BY topic, created_at")
    return [_stored(row) for row in rows]


def last_created_at(connection: apsw.Connection, topic: str) -> int:
    return changelog.number(connection, f"SELECT max(created_at) FROM {MESSAGES} WHERE topic = ?", topic) or 0


def newest_beyond(connection: apsw.Connection, topic: str, count: int) -> int | None:
    """When the newest message was created that has `count` newer ones."""
    return changelog.number(
        connection,
        f"SELECT created_at FROM {MESSAGES} WHERE topic = ? ORDER BY created_at DESC LIMIT 1 OFFSET ?",
        topic,
        count,
    )


def prune(connection: apsw.Connection, topic: str, last: int) -> int:
    """Delete up to PRUNE_STEP messages that were created until `last`, but no open stream, and no compaction."""
    pruned = "topic = ?1 AND state IS NOT 'open' AND compacts IS NULL"
    connection.execute(
        f"DELETE FROM {MESSAGES} WHERE {pruned} AND created_at <= ?2 AND created_at <= "
        f"(SELECT max(created_at) FROM (SELECT created_at FROM {MESSAGES} WHERE {pruned} "
        f"ORDER BY created_at LIMIT {PRUNE_STEP}))",
        (topic, last),
    )
    return connection.changes()


def next_topic(connection: apsw.Connection, after: str) -> str | None:
    row = connection.execute(f"SELECT min(topic) FROM {MESSAGES} WHERE topic > ?", (after,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def _stored(row: Sequence[apsw.SQLiteValue]) -> StoredMessage:
    topic, identifier, user, event, data, position, created_at, n, state, ended = row
    progress = None
    if state is not None:
        progress = StreamProgress(int(n or 0), str(state), int(ended or 0))  # type: ignore[arg-type]
    return StoredMessage(
        str(topic),
        str(identifier),
        str(user),
        str(event),
        Raw(data),  # type: ignore[arg-type]
        int(position),  # type: ignore[arg-type]
        int(created_at),  # type: ignore[arg-type]
        progress,
    )
