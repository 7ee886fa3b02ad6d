"""Connections that repeat what they publish, read by read."""

from typing import Any

import msgspec

from tests.flow.wire import frame
from tests.unit.gateway.websocket.stage import Connection, Stage


def masked(text: bytes, mask: bytes = b"\x01\xfe\x7f\x80") -> bytes:
    """The frame of a text, under a mask."""
    plain = frame(text)
    head = plain[: len(plain) - len(text) - len(mask)]
    return head + mask + bytes(each ^ mask[index & 3] for index, each in enumerate(text))


def take(connection: Connection, *texts: bytes) -> bool:
    """Give a connection a read that brings these texts, as its socket does; whether it took the short way."""
    repeated = connection.line.repeated
    if repeated is not None and repeated.take(b"".join(map(masked, texts))):
        return True
    for text in texts:
        assert connection.session.receive(text) is None
    return False


def read(connection: Connection, data: Any, **changed: Any) -> bool:
    """Give a connection the bytes of a publish."""
    return take(
        connection, msgspec.json.encode({"type": "publish", "topic": "a/b", "event": "e", "data": data, **changed})
    )


async def expecting(node: Stage, user: str | None = None, **changed: Any) -> Connection:
    """A connection that has published twice, so that what repeats it is expected."""
    publisher = node.connect(user)
    read(publisher, "first", **changed)
    before = publisher.line.repeated
    read(publisher, "second", **changed)
    assert before is None, "many connections publish once only"
    assert publisher.line.repeated is not None
    publisher.take()
    return publisher


async def listening(node: Stage, **options: Any) -> Connection:
    listener = node.connect()
    await listener.ask(type="subscribe", topic="a/b", **options)
    return listener
