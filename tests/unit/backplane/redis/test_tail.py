"""The tail of the log: when entries are handled, how they come, when the log is read, and how reading ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.items import AnyItem, Batch, Beat, encode_batch
from aerostack_realtime.backplane.redis.connection import Answered, ConnectionLost, Part, Reply, ServerError
from aerostack_realtime.backplane.redis.log import ALL_PUBLISHED_US, ENTRIES, Log
from aerostack_realtime.backplane.redis.reader import LogReader
from aerostack_realtime.backplane.redis.scripts import Keys
from aerostack_realtime.backplane.redis.step import Step
from aerostack_realtime.backplane.redis.tail import (
    CALM_PER_SECOND,
    LOADED_SECONDS,
    MISSES,
    PUBLISHED_BURST,
    Pace,
    Tail,
)
from aerostack_realtime.backplane.redis.window import LogWindow

PATIENCE = 100.0


class Server:
    """The far end of both connections of a node. `events` are commands that came, and what the node handled."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.reads: list[Answered] = []
        self.subscriptions: list[Answered] = []
        self.published: Callable[[bytes], None] = self._unexpected
        self.handled: Callable[[], None] = lambda: None
        self.step = Step(asyncio.get_running_loop())
        self.now = 0.0
        self.last = 0
        self._came = asyncio.Event()

    def send(self, answered: Answered, *parts: Part) -> None:
        if parts[0] == "XREAD":
            self.events.append("wait" if "BLOCK" in parts else "read")
            self.reads.append(answered)
        else:
            self.events.append(str(parts[0]).lower())
            self.subscriptions.append(answered)
        self._came.set()

    def entry(self, *, at: int | None = None, name: bytes = b"B", blob: bytes | None = None) -> list[Any]:
        """The next entry, as a read returns it."""
        previous, self.last = self.last, self.last + 10
        values = (1, previous, 1, self.last if at is None else at)
        generation, before, count, time = (str(value).encode() for value in values)
        content = encode_batch(Batch("other", self.last, (Beat(connections=self.last),))) if blob is None else blob
        return [
            f"{self.last}-0".encode(),
            [b"g", generation, b"p", before, b"n", count, b"a", time, name, content],
        ]

    def answer(self, *entries: list[Any]) -> None:
        """Answer the read under way."""
        self.reads.pop()([[b"log", list(entries)]] if entries else None)

    def fail(self, error: Exception) -> None:
        self.reads.pop()(error)

    def publish(self, *entries: list[Any]) -> None:
        """Publish entries, which come at once."""
        for identifier, fields in entries:
            self.published(b" ".join((identifier[:-2], *fields[1::2])))
        self.handled()

    def confirm(self, reply: Reply = None) -> None:
        self.subscriptions.pop(0)(reply)

    async def until(self, event: str) -> None:
        """Return when a read is under way: one that waits ("wait") or one that does not ("read")."""
        async with asyncio.timeout(PATIENCE):
            while not self.reads or event not in self.events[-1:]:
                self._came.clear()
                await self._came.wait()

    # What the reader hands over.

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        self.events.append(f"entered {position}")
        self.step.defer(self.events.append, "flushed")

    def began(self, since: int, until: int) -> None:
        if since:
            self.events.append(f"gap {since} {until}")

    def cut_off(self) -> None:
        raise AssertionError("nothing here watches the server")

    def reconnected(self) -> None:
        raise AssertionError("nothing here watches the server")

    def refused(self, items: object, error: object) -> tuple[int, ...]:
        raise AssertionError("nothing is appended here")

    @staticmethod
    def _unexpected(message: bytes) -> None:
        raise AssertionError(f"nobody listens to {message!r}")


class Running:
    """A tail that runs, and has sent its first commands."""

    def __init__(self, *, channels: bool = True) -> None:
        self.server = Server()
        reader = LogReader("me", self.server, lambda _: None, lambda *_: [])
        reader.begin(1, 0)
        log = Log(Keys.of("test"), reader, LogWindow(1 << 30))
        self.reader = reader
        tail = Tail(
            log,
            self.server,
            self.server if channels else None,
            "entries",
            self.server.step,
            now=lambda: self.server.now,
            check_seconds=0.001,
        )
        self.ended = asyncio.create_task(tail.run())

    async def subscribed(self) -> Server:
        """Its server, once the subscription is confirmed and the log was read to its end after it."""
        server = self.server
        await settled()
        server.confirm()
        server.answer()
        await server.until("read")
        server.answer()
        server.events.clear()
        return server


async def settled() -> None:
    """Return when all callbacks that were due have run."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
async def reading() -> AsyncIterator[Running]:
    """A tail of a node that may not use channels."""
    running = Running(channels=False)
    await settled()
    yield running
    running.ended.cancel()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    yield running
    running.ended.cancel()


async def test_a_reply_is_handled_at_once_and_flushed_before_the_next_read(reading: Running) -> None:
    server = reading.server
    server.answer(server.entry())
    assert server.events == ["wait", "entered 10"]
    await settled()
    assert server.events == ["wait", "entered 10", "flushed", "wait"]


async def test_an_empty_reply_is_followed_by_the_next_read(reading: Running) -> None:
    reading.server.answer()
    await settled()
    assert reading.server.events == ["wait", "wait"]


@pytest.mark.parametrize("error", [ServerError("LOADING"), ConnectionLost("gone")])
async def test_reading_ends_with_the_error_of_the_server(reading: Running, error: Exception) -> None:
    reading.server.fail(error)
    with pytest.raises(type(error)):
        await reading.ended
    assert reading.server.events == ["wait"]


@pytest.mark.parametrize("published", [True, False])
async def test_reading_ends_with_what_handling_an_entry_raises(running: Running, published: bool) -> None:
    server = await running.subscribed()
    entry = server.entry(blob=msgspec.msgpack.encode(("other", 1, (["unknown", 1],), ())))
    if published:
        server.publish(entry)
    else:
        await server.until("read")
        server.answer(entry)
    with pytest.raises(JournalUnusable):
        await running.ended
    server.publish(server.entry())
    await settled()
    assert "entered 20" not in server.events


async def test_nothing_is_read_or_handled_after_the_end(reading: Running) -> None:
    reading.ended.cancel()
    await asyncio.gather(reading.ended, return_exceptions=True)
    reading.server.answer(reading.server.entry())
    await settled()
    assert reading.server.events == ["wait"]


async def test_the_log_is_read_once_more_after_a_subscription(running: Running) -> None:
    server = running.server
    await settled()
    server.confirm()
    server.answer(server.entry())
    await settled()
    assert server.events == ["subscribe", "wait", "entered 10", "flushed", "read"]


async def test_published_entries_are_handled_and_flushed_without_a_read(running: Running) -> None:
    server = await running.subscribed()
    server.publish(server.entry())
    assert server.events == ["entered 10", "flushed"]


async def test_entries_that_come_at_once_are_flushed_before_a_read(running: Running) -> None:
    server = await running.subscribed()
    heard = server.entry()
    missed = server.entry()
    server.publish(heard, server.entry())
    assert server.events == ["entered 10", "flushed", "read"]
    server.answer(missed)
    assert server.events[3:] == ["entered 20"]


async def test_a_deferred_call_that_fails_is_reported_and_the_others_are_made(running: Running) -> None:
    server = await running.subscribed()
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    server.step.is_open = True
    server.step.defer([].pop)
    server.publish(server.entry())
    assert server.events == ["entered 10", "flushed"]
    assert [type(each) for each in reported] == [IndexError]


async def test_an_entry_before_the_confirmation_is_taken_only_if_it_continues(running: Running) -> None:
    server = running.server
    await settled()
    server.publish(server.entry())
    missed = server.entry()
    server.publish(server.entry())
    assert server.events == ["subscribe", "wait", "entered 10", "flushed"]
    server.confirm()
    server.last = 20
    server.answer(missed, server.entry())
    assert server.events[4:] == ["entered 20", "entered 30"]


async def test_a_missed_entry_is_read(running: Running) -> None:
    server = await running.subscribed()
    missed, heard = server.entry(), server.entry()
    server.publish(heard)
    assert server.events == ["read"]
    server.answer(missed, heard)
    assert server.events == ["read", "entered 10", "entered 20"]


async def test_a_read_is_repeated_for_what_was_missed_during_it(running: Running) -> None:
    server = await running.subscribed()
    first, second, third, fourth = (server.entry() for _ in range(4))
    server.publish(second)
    server.publish(fourth)
    server.answer(first, second)
    await settled()
    server.answer(third, fourth)
    assert [each for each in server.events if each != "flushed"] == [
        *("read", "entered 10", "entered 20"),
        *("read", "entered 30", "entered 40"),
    ]


async def test_an_entry_comes_once_by_channel_and_read(running: Running) -> None:
    server = await running.subscribed()
    await server.until("read")
    entry = server.entry()
    server.publish(entry)
    server.answer(entry)
    server.publish(entry)
    assert server.events.count("entered 10") == 1


async def test_a_full_reply_is_followed_by_another_read(running: Running) -> None:
    server = await running.subscribed()
    await server.until("read")
    server.answer(*(server.entry() for _ in range(ENTRIES)))
    await settled()
    assert server.events[-1] == "read"


async def test_the_log_is_read_from_time_to_time_beside_the_channel(running: Running) -> None:
    server = await running.subscribed()
    for _ in range(3):
        await server.until("read")
        server.events.clear()
        server.answer()


async def test_entries_of_a_node_that_does_not_publish_are_waited_for(running: Running) -> None:
    server = await running.subscribed()
    await server.until("read")
    server.events.clear()
    server.answer(server.entry(name=b"b"))
    await settled()
    assert server.events == ["entered 10", "unsubscribe", "flushed", "wait"]


async def test_the_channel_is_used_again_once_all_nodes_publish(running: Running) -> None:
    server = await running.subscribed()
    await server.until("read")
    server.answer(server.entry(name=b"b"))
    await server.until("wait")
    server.now = LOADED_SECONDS
    server.answer(server.entry(at=ALL_PUBLISHED_US))
    await server.until("wait")
    server.now = 2 * LOADED_SECONDS
    server.answer(server.entry(at=ALL_PUBLISHED_US + 10))
    assert server.events[-1] == "subscribe"


async def test_more_published_entries_than_a_node_handles_are_read(running: Running) -> None:
    server = await running.subscribed()
    for _ in range(PUBLISHED_BURST):
        server.publish(server.entry())
    assert "unsubscribe" not in server.events
    server.publish(server.entry())
    assert server.events[-4:] == ["entered 2570", "flushed", "unsubscribe", "wait"]


@pytest.mark.parametrize(("entries", "subscribes"), [(0, True), (CALM_PER_SECOND * 3 + 1, False)])
async def test_the_channel_is_used_again_when_the_load_is_over(
    running: Running, entries: int, subscribes: bool
) -> None:
    server = await running.subscribed()
    for _ in range(PUBLISHED_BURST + 1):
        server.publish(server.entry())
    server.answer(*(server.entry() for _ in range(entries)))
    await server.until("wait")
    server.now = LOADED_SECONDS
    server.answer()
    assert (server.events[-1] == "subscribe") is subscribes


async def test_a_refused_subscription_leaves_the_node_reading(running: Running) -> None:
    server = running.server
    await settled()
    server.confirm(ServerError("NOPERM"))
    for _ in range(3):
        server.answer()
        await settled()
    assert server.events == ["subscribe", "wait", "wait", "wait", "wait"]


async def test_a_server_that_does_not_deliver_is_read(running: Running) -> None:
    server = await running.subscribed()
    for _ in range(MISSES):
        await server.until("read")
        server.answer(server.entry())
    await server.until("wait")
    assert server.events[-2:] == ["unsubscribe", "wait"]
    server.now = 2 * LOADED_SECONDS
    server.answer()
    await server.until("wait")
    assert "subscribe" not in server.events


async def test_a_late_message_shows_that_the_server_delivers(running: Running) -> None:
    server = await running.subscribed()
    for _ in range(2 * MISSES):
        await server.until("read")
        entry = server.entry()
        server.answer(entry)
        server.publish(entry)
        server.answer()
    assert "unsubscribe" not in server.events


def test_steps_are_let_through_at_the_rate_after_a_burst() -> None:
    pace = Pace(1000, 3)
    assert [pace.take(5.0) for _ in range(4)] == [True, True, True, False]
    assert pace.take(5.002)
    assert [pace.take(9.0) for _ in range(4)] == [True, True, True, False]
