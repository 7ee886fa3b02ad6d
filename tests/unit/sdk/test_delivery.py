import asyncio
import logging

import pytest

from aerostack_realtime.protocol.errors import Forbidden
from aerostack_realtime.sdk.delivery import Delivery, Stream
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.subscription import Subscription


def event(number: int) -> Payload:
    return Payload(type="event", topic="chat/room", event="message", data=number, cursor=f"c{number}")


class Room:
    """A delivery whose user listens with `handlers`; `empty` is set whenever it has drained."""

    def __init__(self, buffer: int = 10) -> None:
        self.subscription = Subscription("chat/room", "chat/room/default")
        self.empty = asyncio.Event()
        self.delivery = Delivery(self.subscription, self.empty.set, buffer=buffer)

    async def deliver(self, *numbers: int) -> None:
        self.empty.clear()
        for number in numbers:
            self.delivery.put(event(number))
        await self.empty.wait()


async def test_an_async_handler_is_awaited_before_the_next_event() -> None:
    room, trace = Room(), []

    async def slow(payload: Payload) -> None:
        trace.append(f"begin {payload.data}")
        await asyncio.sleep(0)
        trace.append(f"end {payload.data}")

    room.subscription.add_listener("message", slow)
    await room.deliver(1, 2)
    assert trace == ["begin 1", "end 1", "begin 2", "end 2"]


async def test_a_failing_handler_is_logged_and_isolated(caplog: pytest.LogCaptureFixture) -> None:
    room, heard = Room(), []

    def broken(payload: Payload) -> None:
        raise RuntimeError("my bug")

    room.subscription.add_listener("message", broken)
    room.subscription.add_listener("message", lambda payload: heard.append(payload.data))
    with caplog.at_level(logging.ERROR, "aerostack_realtime.sdk"):
        await room.deliver(1, 2)
    assert heard == [1, 2]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert room.subscription.cursor == "c2"


async def test_the_cursor_follows_finished_handlers() -> None:
    room = Room()
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(payload: Payload) -> None:
        begun.set()
        await release.wait()

    room.subscription.add_listener("message", slow)
    room.delivery.put(event(1))
    await begun.wait()
    assert room.subscription.cursor is None
    release.set()
    await room.empty.wait()
    assert room.subscription.cursor == "c1"


async def test_it_says_when_it_is_full() -> None:
    room = Room(buffer=2)
    room.subscription.add_listener("message", lambda payload: None)
    room.delivery.put(event(1))
    fullness = [room.delivery.full]
    room.delivery.put(event(2))
    fullness.append(room.delivery.full)
    await room.empty.wait()
    assert [*fullness, room.delivery.full] == [False, True, False]


async def test_payloads_wait_for_the_first_listener() -> None:
    room, heard = Room(), []
    room.delivery.put(event(1))
    assert not room.delivery.idle
    room.subscription.add_listener("message", lambda payload: heard.append(payload.data))
    room.delivery.wake()
    await room.empty.wait()
    assert heard == [1]
    assert room.delivery.idle


async def test_a_cancelled_handler_does_not_end_the_delivery() -> None:
    room, heard = Room(), []

    async def cancelled(payload: Payload) -> None:
        heard.append(payload.data)
        if payload.data == 1:
            raise asyncio.CancelledError

    room.subscription.add_listener("message", cancelled)
    await room.deliver(1, 2, 3)
    assert heard == [1, 2, 3]


async def test_stopping_cancels_a_running_handler_and_drops_the_rest() -> None:
    room, heard = Room(), []
    begun = asyncio.Event()

    async def hanging(payload: Payload) -> None:
        heard.append(payload.data)
        begun.set()
        await asyncio.Event().wait()

    room.subscription.add_listener("message", hanging)
    room.delivery.put(event(1))
    room.delivery.put(event(2))
    await begun.wait()
    await room.delivery.stop()
    assert heard == [1]
    assert room.delivery.idle
    assert room.subscription.cursor is None


async def test_a_handler_may_stop_its_own_delivery() -> None:
    room, heard = Room(), []

    async def stopping(payload: Payload) -> None:
        await room.delivery.stop()
        heard.append(payload.data)

    room.subscription.add_listener("message", stopping)
    await room.deliver(1, 2)
    assert heard == [1]


async def test_a_stream_finishes_an_event_when_the_loop_continues() -> None:
    stream = Stream()
    first = asyncio.create_task(stream.push(event(1)))
    assert await stream.next() == event(1)
    assert not first.done()
    following = asyncio.create_task(stream.next())
    await first
    second = asyncio.create_task(stream.push(event(2)))
    assert await following == event(2)
    stream.end()
    await second


async def test_ending_a_stream_ends_the_loop_and_frees_the_delivery() -> None:
    stream = Stream()
    waiting = asyncio.create_task(stream.push(event(1)))
    await asyncio.sleep(0)
    stream.end()
    await waiting
    await stream.push(event(2))
    assert await stream.next() is None


async def test_a_stream_raises_what_ended_the_subscription() -> None:
    stream = Stream()
    stream.end(Forbidden("closed by an operator"))
    with pytest.raises(Forbidden):
        await stream.next()
