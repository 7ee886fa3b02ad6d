"""The tail of the log: when a reply is handled, when the next read is sent, and how reading ends."""

import asyncio
from typing import Any, cast

import pytest

from aerostack_realtime.backplane.redis.connection import Answered, Connection, ConnectionLost, Reply, ServerError
from aerostack_realtime.backplane.redis.tail import ReadPace, Tail


class Broken(Exception):
    """A reply that cannot be handled."""


class Server:
    """The far end of a connection: `events` are the reads that came and what a test adds."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.answered: list[Answered] = []

    def send(self, answered: Answered, *parts: Any) -> None:
        self.events.append(" ".join(map(str, parts)))
        self.answered.append(answered)

    def answer(self, reply: Reply) -> None:
        self.answered.pop()(reply)

    def tail(self) -> Tail:
        def handle(reply: Reply) -> None:
            if isinstance(reply, Broken):
                raise reply
            self.events.append(f"handled {reply}")
            asyncio.get_running_loop().call_soon(self.events.append, "flushed")

        return Tail(cast(Connection, self), lambda: ("XREAD",), handle)


async def test_a_reply_is_handled_at_once_and_flushed_before_the_next_read() -> None:
    server = Server()
    running = asyncio.create_task(server.tail().run())
    await asyncio.sleep(0)
    server.answer("entries")
    assert server.events == ["XREAD", "handled entries"]
    await asyncio.sleep(0)
    assert server.events == ["XREAD", "handled entries", "flushed", "XREAD"]
    running.cancel()


async def test_an_empty_reply_is_followed_by_the_next_read() -> None:
    server = Server()
    running = asyncio.create_task(server.tail().run())
    await asyncio.sleep(0)
    server.answer(None)
    await asyncio.sleep(0)
    assert server.events == ["XREAD", "XREAD"]
    running.cancel()


@pytest.mark.parametrize("error", [ServerError("LOADING"), ConnectionLost("gone")])
async def test_reading_ends_with_the_error_of_the_server(error: Exception) -> None:
    server = Server()
    running = asyncio.create_task(server.tail().run())
    await asyncio.sleep(0)
    server.answer(error)
    with pytest.raises(type(error)):
        await running
    assert server.events == ["XREAD"]


async def test_reading_ends_with_what_handling_a_reply_raises() -> None:
    server = Server()
    running = asyncio.create_task(server.tail().run())
    await asyncio.sleep(0)
    server.answer([])
    await asyncio.sleep(0)
    server.answer(Broken())
    with pytest.raises(Broken):
        await running
    assert server.events == ["XREAD", "XREAD"]


async def test_nothing_is_read_or_handled_after_the_end() -> None:
    server = Server()
    running = asyncio.create_task(server.tail().run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    server.answer("late")
    await asyncio.sleep(0)
    assert server.events == ["XREAD"]


def test_reads_are_let_through_at_the_rate_after_a_burst() -> None:
    pace = ReadPace(1000, 3)
    assert [pace.take(5.0) for _ in range(4)] == [True, True, True, False]
    assert pace.take(5.002)
    assert [pace.take(9.0) for _ in range(4)] == [True, True, True, False]
