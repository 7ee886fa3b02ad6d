"""The table of messages: its statements, and the conversion of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Raw, Struct, convert
from psycopg.pq.abc import PGresult

from aerostack_realtime.database.message_store import (
    LicenceLost,
    NewMessage,
    Stored,
    StoredMessage,
    StreamProgress,
)
from aerostack_realtime.database.postgres.connection.dedicated import (
    bigint,
    bigints,
    byteas,
    exchange,
    exchange_prepared,
    texts,
)
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.marks import Marks, marks_sql
from aerostack_realtime.database.postgres.migrations import SCHEMA
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.messages import StreamState

MESSAGES: Final = f"{SCHEMA}.messages"

PRUNE_STEP: Final = 1_000
PRUNE_TOPICS: Final = 1_000

COLUMNS = "topic, id, user_id, event, data, position, created_at, n, state, ended"
_INSERT = f"""INSERT INTO {MESSAGES}(topic, created_at, position, id, user_id, event, data, n, state, ended)
  SELECT topic, created_at, position, id, user_id, event, data, nullif(n, -1), nullif(state, ''), nullif(ended, -1)
  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[],
    $8::bigint[], $9::text[], $10::bigint[])
    AS w(topic, created_at, position, id, user_id, event, data, n, state, ended)
  {{fence}}ON CONFLICT (topic, user_id, id) DO NOTHING"""
_INSERT_ALONE = _INSERT.format(fence="")
_LICENSED = (
    f"EXISTS (SELECT FROM {SCHEMA}.nodes WHERE node = $11::text AND generation = $12::bigint FOR KEY SHARE)"
)
_INSERT_LICENSED = _INSERT.format(fence=f"WHERE {_LICENSED} ")
IS_LICENSED = f"{_LICENSED.replace('$11', '$1').replace('$12', '$2')}"
STORED_AT = f"""SELECT m.topic, m.position, m.created_at FROM {MESSAGES} m
  JOIN unnest($1::text[], $2::bigint[]) AS k(topic, position) USING (topic, position)
  UNION ALL SELECT m.topic, m.ended, m.created_at FROM {MESSAGES} m
  JOIN unnest($1::text[], $2::bigint[]) AS k(topic, position) ON m.topic = k.topic AND m.ended = k.position
  WHERE m.ended > 0"""
"""Also the ends of streams."""
WITH_MESSAGES = f"""SELECT t.topic FROM unnest($1::text[]) AS t(topic)
  WHERE EXISTS (SELECT FROM {MESSAGES} m WHERE m.topic = t.topic AND m.position > $2::bigint
    AND m.position <= $3::bigint AND m.state IS NULL)
  OR EXISTS (SELECT FROM {MESSAGES} m WHERE m.topic = t.topic AND m.ended > $2::bigint
    AND m.ended <= $3::bigint AND m.ended > 0)"""
"""Which topics `AFTER` finds messages for."""
_FIND = f"""SELECT {COLUMNS} FROM {MESSAGES}
  JOIN unnest($1::text[], $2::text[], $3::text[]) AS k(topic, user_id, id) USING (topic, user_id, id)"""
_LAST = f"""SELECT t.topic, (SELECT max(created_at) FROM {MESSAGES} m WHERE m.topic = t.topic)
  FROM unnest($1::text[]) AS t(topic)"""
HISTORY = f"""SELECT {COLUMNS} FROM {MESSAGES} WHERE topic = $1::text AND created_at < $2::bigint
  ORDER BY created_at DESC LIMIT $3::bigint"""
_ENDED_COLUMNS = COLUMNS.replace("position", "ended AS position")


AFTER = f"""SELECT {COLUMNS}, stored_mark, next_mark FROM ({marks_sql("$5")}) AS marks
  LEFT JOIN (
    (SELECT {COLUMNS} FROM {MESSAGES} WHERE topic = $1::text
      AND position > $2::bigint AND position <= $3::bigint AND state IS NULL ORDER BY position LIMIT $4::bigint)
    UNION ALL (SELECT {_ENDED_COLUMNS} FROM {MESSAGES} WHERE topic = $1::text
      AND ended > $2::bigint AND ended <= $3::bigint AND ended > 0 ORDER BY messages.ended LIMIT $4::bigint)
    ORDER BY position LIMIT $4::bigint) AS page ON true
  ORDER BY position"""
"""With the marks of the same moment, which are returned also without any message."""
MARKS_COLUMN: Final = 10
TOPICS = f"""WITH RECURSIVE t(topic) AS (
    SELECT min(topic) FROM {MESSAGES} WHERE topic > $1::text
    UNION ALL SELECT (SELECT min(topic) FROM {MESSAGES} m WHERE m.topic > t.topic) FROM t
      WHERE t.topic IS NOT NULL)
  SELECT topic FROM t WHERE topic IS NOT NULL LIMIT {PRUNE_TOPICS}"""
_PRUNED = "topic = $1::text AND state IS DISTINCT FROM 'open' AND compacts IS NULL"
PRUNE_BY_AGE = f"""DELETE FROM {MESSAGES}
  WHERE {_PRUNED} AND created_at <= least($2::bigint,
  (SELECT max(created_at) FROM (
    SELECT created_at FROM {MESSAGES} WHERE {_PRUNED}
      ORDER BY created_at LIMIT {PRUNE_STEP}) AS oldest))"""
PRUNE = PRUNE_BY_AGE.replace(
    "$2::bigint",
    f"""greatest($2::bigint, (SELECT created_at FROM {MESSAGES} WHERE topic = $1::text
      ORDER BY created_at DESC OFFSET $3::bigint LIMIT 1))""",
)
"""The same, and all but the newest $3."""


def marks_in(result: PGresult, column: int = 0) -> Marks:
    return Marks(integer(result, 0, column), integer(result, 0, column + 1))


Key = tuple[bytes, bytes, bytes]


class Write(Struct, gc=False):
    """A message to be inserted: `key` is topic, user and id, in UTF-8 like `event`. `is_sent`: an attempt to
    insert it has no answer."""

    message: NewMessage
    key: Key
    event: bytes
    created_at: int = 0
    is_sent: bool = False

    @property
    def place(self) -> tuple[Key, int]:
        """The same for each attempt to insert it."""
        return self.key, self.message.position


def write_of(message: NewMessage) -> Write:
    """Raises BadMessage for a character that PostgreSQL cannot store."""
    key = (text(message.topic), text(message.user_id), text(message.id))
    return Write(message, key, text(message.event))


async def last_stamps(connection: Connection, topics: Sequence[bytes]) -> dict[bytes, int]:
    """The highest `created_at` of each topic, 0 for one without messages."""
    found = await exchange(connection, _LAST, [texts(topics)])
    return {_bytes(found, row, 0): integer(found, row, 1) for row in range(found.ntuples)}


class Licence(Struct, frozen=True):
    """A node's right to store messages in a generation of the journal, until it is revoked."""

    node: bytes
    generation: int


async def insert(
    connection: Connection, writes: Sequence[Write], licence: Licence | None = None
) -> dict[Key, Stored]:
    """Insert in one transaction. A key that exists already yields its stored message, unless that was pruned
    since.

    With a `licence`, the transaction stores nothing after the licence was revoked, and revoking it waits for the
    transaction. Raises LicenceLost, unless an earlier attempt had stored some of them.
    """
    topics = texts([write.key[0] for write in writes])
    users = texts([write.key[1] for write in writes])
    ids = texts([write.key[2] for write in writes])
    streams = [write.message.stream for write in writes]
    fence = [] if licence is None else [licence.node, bigint(licence.generation)]
    result = await exchange_prepared(
        connection,
        _INSERT_LICENSED if fence else _INSERT_ALONE,
        [
            topics,
            bigints([write.created_at for write in writes]),
            bigints([write.message.position for write in writes]),
            ids,
            users,
            texts([write.event for write in writes]),
            byteas([bytes(write.message.data) for write in writes]),
            bigints([-1 if each is None else each.n for each in streams]),
            texts([b"" if each is None else each.state.encode() for each in streams]),
            bigints([-1 if each is None else each.ended for each in streams]),
            *fence,
        ],
    )
    if result.command_tuples == 0 and fence and not await is_licensed(connection, fence):
        return await stored_before(connection, writes)
    if result.command_tuples == len(writes):
        return {write.key: Stored(stored(write), duplicate=False) for write in writes}
    return await find(connection, writes)


async def find(connection: Connection, writes: Sequence[Write]) -> dict[Key, Stored]:
    """The outcomes of writes whose messages are there."""
    columns = [texts([write.key[column] for write in writes]) for column in range(3)]
    found = {
        (each.topic, each.user_id, each.id): each
        for each in messages_in(await exchange(connection, _FIND, columns))
    }
    outcomes: dict[Key, Stored] = {}
    for write in writes:
        message = write.message
        there = found.get((message.topic, message.user_id, message.id))
        if there is not None:
            ours = (there.created_at, there.position) == (write.created_at, message.position)
            outcomes[write.key] = Stored(there, duplicate=not ours)
    return outcomes


async def stored_before(connection: Connection, writes: Sequence[Write]) -> dict[Key, Stored]:
    """What these same writes had stored before the licence was lost. Raises LicenceLost when that is nothing."""
    found = await find(connection, writes)
    ours = {key: outcome for key, outcome in found.items() if not outcome.duplicate}
    if not ours:
        raise LicenceLost
    return ours


async def is_licensed(connection: Connection, fence: Sequence[bytes]) -> bool:
    found = await exchange(connection, f"SELECT {IS_LICENSED}", fence)
    return _bytes(found, 0, 0) == b"\1"


async def stored_at(connection: Connection, places: Sequence[tuple[bytes, int]]) -> dict[tuple[str, int], int]:
    """Which of these topics and positions hold a message, each with its `created_at`."""
    topics, positions = texts([topic for topic, _ in places]), bigints([position for _, position in places])
    found = await exchange(connection, STORED_AT, [topics, positions])
    return {
        (_bytes(found, row, 0).decode(), integer(found, row, 1)): integer(found, row, 2)
        for row in range(found.ntuples)
    }


def stored(write: Write) -> StoredMessage:
    """The message that a write stores."""
    given = write.message
    return StoredMessage(
        given.topic,
        given.id,
        given.user_id,
        given.event,
        given.data,
        given.position,
        write.created_at,
        given.stream,
    )


def messages_in(result: PGresult) -> list[StoredMessage]:
    """The rows of `COLUMNS`."""
    return [
        StoredMessage(
            _bytes(result, row, 0).decode(),
            _bytes(result, row, 1).decode(),
            _bytes(result, row, 2).decode(),
            _bytes(result, row, 3).decode(),
            Raw(_bytes(result, row, 4)),
            integer(result, row, 5),
            integer(result, row, 6),
            _progress(result, row),
        )
        for row in range(result.ntuples)
        if result.get_value(row, 0) is not None
    ]


def _progress(result: PGresult, row: int) -> StreamProgress | None:
    state = _bytes(result, row, 8).decode()
    if not state:
        return None
    return StreamProgress(integer(result, row, 7), convert(state, StreamState), integer(result, row, 9))


def first_column(result: PGresult) -> list[bytes]:
    return [_bytes(result, row, 0) for row in range(result.ntuples)]


def _bytes(result: PGresult, row: int, column: int) -> bytes:
    return result.get_value(row, column) or b""


def integer(result: PGresult, row: int, column: int) -> int:
    """A bigint; 0 for NULL."""
    return int.from_bytes(_bytes(result, row, column), "big", signed=True)


def text(value: str) -> bytes:
    """Raises BadMessage for a character that PostgreSQL cannot store in text."""
    if "\0" in value:
        raise BadMessage("The message's topic, id, user or event holds a NUL character: leave it out.")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise BadMessage("The message's topic, id, user or event holds a lone surrogate: leave it out.") from None
