"""Streams in the table of messages: rows whose data, pieces and state are updated until they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aerostack_realtime.database.message_store import LicenceLost, NewMessage, StoredMessage
from aerostack_realtime.database.postgres.connection.dedicated import bigint, bigints, byteas, exchange, texts
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.messages.table import (
    COLUMNS,
    IS_LICENSED,
    MESSAGES,
    Licence,
    first_column,
    is_licensed,
    messages_in,
    text,
)

_UPDATE: Final = f"""UPDATE {MESSAGES} m SET data = u.data, n = u.n, state = u.state, ended = u.ended
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::bigint[])
    AS u(topic, user_id, id, data, n, state, ended)
  WHERE m.topic = u.topic AND m.user_id = u.user_id AND m.id = u.id AND m.state = 'open'
    AND (m.n <= u.n OR u.state <> 'open')"""
_UPDATE_LICENSED: Final = f"{_UPDATE} AND {IS_LICENSED.replace('$1', '$8').replace('$2', '$9')}"
_MISSING: Final = f"""SELECT u.number FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
    AS u(topic, user_id, id, number)
  WHERE NOT EXISTS (SELECT FROM {MESSAGES} m WHERE m.topic = u.topic AND m.user_id = u.user_id AND m.id = u.id)"""
_OPEN: Final = f"SELECT {COLUMNS} FROM {MESSAGES} WHERE state = 'open' ORDER BY topic, created_at"


async def update(
    connection: Connection, messages: Sequence[StoredMessage], licence: Licence | None
) -> list[NewMessage]:
    """Store how far streams are, in one transaction. Returns those that are not stored at all.

    Raises LicenceLost, and BadMessage for a character that PostgreSQL cannot store.
    """
    progress = [each.stream for each in messages if each.stream is not None]
    assert len(progress) == len(messages), "only streams grow"
    keys = [
        texts([text(each.topic) for each in messages]),
        texts([text(each.user_id) for each in messages]),
        texts([text(each.id) for each in messages]),
    ]
    fence = [] if licence is None else [licence.node, bigint(licence.generation)]
    result = await exchange(
        connection,
        _UPDATE_LICENSED if fence else _UPDATE,
        [
            *keys,
            byteas([bytes(each.data) for each in messages]),
            bigints([each.n for each in progress]),
            texts([each.state.encode() for each in progress]),
            bigints([each.ended for each in progress]),
            *fence,
        ],
    )
    if result.command_tuples == len(messages):
        return []
    if fence and not await is_licensed(connection, fence):
        raise LicenceLost
    missing = first_column(await exchange(connection, _MISSING, keys))
    return [_new(messages[int.from_bytes(number, "big") - 1]) for number in missing]


async def open_streams(connection: Connection) -> list[StoredMessage]:
    """The streams that have not ended."""
    return messages_in(await exchange(connection, _OPEN))


def _new(message: StoredMessage) -> NewMessage:
    return NewMessage(
        message.topic,
        message.id,
        message.user_id,
        message.event,
        message.data,
        message.position,
        message.created_at,
        message.stream,
    )
