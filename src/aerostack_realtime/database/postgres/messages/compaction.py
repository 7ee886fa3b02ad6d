"""Compactions: messages that replace the older ones of their event, in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from aerostack_realtime.database.message_store import Stored, compacted_later
from aerostack_realtime.database.postgres.connection.dedicated import bigint, bigints, exchange
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.messages.table import (
    IS_LICENSED,
    MESSAGES,
    Key,
    Licence,
    Write,
    find,
    insert,
    integer,
    is_licensed,
    stored,
    stored_before,
)
from aerostack_realtime.protocol.errors import AerostackError

_COMPACT: Final = f"""WITH later AS (
    SELECT FROM {MESSAGES} WHERE topic = $1::text AND event = $6::text AND compacts IS NOT NULL
      AND position > $8::bigint LIMIT 1),
  stored AS (
    INSERT INTO {MESSAGES}(topic, created_at, position, id, user_id, event, data, compacts)
    SELECT $1::text, $2::bigint, $3::bigint, $4::text, $5::text, $6::text, $7::bytea, $8::bigint
    WHERE NOT EXISTS (SELECT FROM later){{fence}}
    ON CONFLICT (topic, user_id, id) DO NOTHING RETURNING 1),
  removed AS (
    DELETE FROM {MESSAGES} WHERE topic = $1::text AND event = $6::text AND EXISTS (SELECT FROM stored)
      AND (state IS NULL AND position <= $8::bigint OR ended > 0 AND ended <= $8::bigint)
      AND position <> ALL ($9::bigint[]))
  SELECT (SELECT count(*) FROM stored), (SELECT count(*) FROM later)"""
"""Two nodes that compact one topic in the same moment may both succeed. Nothing is lost then: each of the two
messages holds what its own transaction deletes."""
NEWEST: Final = f"""SELECT coalesce(max(position), 0) FROM {MESSAGES}
  WHERE topic = $1::text AND compacts IS NOT NULL"""
_COMPACT_ALONE: Final = _COMPACT.format(fence="")
_COMPACT_LICENSED: Final = _COMPACT.format(
    fence=f" AND {IS_LICENSED.replace('$1:', '$10:').replace('$2:', '$11:')}"
)


def groups(writes: Iterable[Write]) -> Iterator[list[Write]]:
    """The writes in their order, in groups for `store`."""
    for _, group in groupby(writes, lambda write: write.message.compacts and write.key):
        yield list(group)


async def store(
    connection: Connection, writes: Sequence[Write], licence: Licence | None
) -> Mapping[Key, Stored | AerostackError]:
    """Store messages in one transaction, as `table.insert`, or one message that compacts others."""
    if not writes[0].message.compacts:
        return await insert(connection, writes, licence)
    [write] = writes
    topic, user, id = write.key
    message = write.message
    fence = [] if licence is None else [licence.node, bigint(licence.generation)]
    result = await exchange(
        connection,
        _COMPACT_LICENSED if fence else _COMPACT_ALONE,
        [
            topic,
            bigint(write.created_at),
            bigint(message.position),
            id,
            user,
            write.event,
            bytes(message.data),
            bigint(message.compacts),
            bigints(message.keeps),
            *fence,
        ],
    )
    if integer(result, 0, 0):
        return {write.key: Stored(stored(write), duplicate=False)}
    if fence and not await is_licensed(connection, fence):
        return await stored_before(connection, writes)
    found = await find(connection, writes)
    if not found and integer(result, 0, 1):
        return {write.key: compacted_later()}
    return found
