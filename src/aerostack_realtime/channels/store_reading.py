"""Slow subscribers of channels whose log no longer holds what follows: served from the message store.

That is possible while everything after a reader's cursor was persisted. The last persisted message that it has is
its anchor. Retention deletes the oldest messages first, so while the anchor is stored, all that follow it are.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.delivery import Delivery, as_chat
from aerostack_realtime.channels.fanout.audience import Audience, Behind
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.database.message_store import MessageStore, StoredMessage
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import AerostackError

PAGE: Final = 256
"""Stored messages that are read at once, at most."""
FIRST_PAGE: Final = 16
"""Messages of a reader's first page. Each later one has as many as could be sent of the page before, or twice as
many if all could be sent: large messages are not read again for each part."""
RETRY_SECONDS: Final = 1.0
"""When a log or the store is read again that could not be read."""


class Reader(Struct, eq=False):
    """A subscription behind live delivery. `cursor` is that of the last frame written to it, `streams` how many
    pieces of the open streams it has, False without streams. `anchor` is the position of the last persisted
    message that it has, 0 if that is not known. `page`: how many stored messages to read next. `busy`: its next
    part is due or being read. `is_far`: its part of a table's log is expensive to read. `taken`: how many changes
    it was given in its turn, at most."""

    topic: str
    subscriber: Subscriber
    audience: Audience
    behind: Behind
    cursor: str
    streams: dict[str, int] | bool
    anchor: int = 0
    page: int = FIRST_PAGE
    busy: bool = False
    is_far: bool = False
    taken: int = 0

    @property
    def is_waiting(self) -> bool:
        return self.audience.is_behind(self.subscriber, self.behind)

    def lose(self) -> None:
        """What it lacks is recorded nowhere."""
        self.audience.remove(self.subscriber)
        self.subscriber.overflow()


class StoreReading:
    """Reads the store for one reader at a time. At most one message above `share` bytes is sent at once."""

    def __init__(
        self,
        *,
        registry: Registry,
        cursors: Cursors,
        delivery: Delivery,
        store: MessageStore,
        later: Callable[[float, Callable[[], None]], object],
        share: int,
    ) -> None:
        self._registry = registry
        self._cursors = cursors
        self._delivery = delivery
        self._store = store
        self._later = later
        self._share = share
        self._queue: deque[Reader] = deque()
        self._wanted = asyncio.Event()

    def holds(self, reader: Reader, channel: CustomChannel) -> bool:
        """Whether everything between a reader and the log was stored."""
        return reader.anchor > 0 and self._cursors.position(reader.cursor) >= channel.log.unrecorded

    def ask(self, reader: Reader) -> None:
        """Send the next part to a reader, which is busy until then."""
        reader.busy = True
        self._queue.append(reader)
        self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._queue:
                await self._serve(self._queue.popleft())

    async def _serve(self, reader: Reader) -> None:
        channel = self._registry.find(reader.topic)
        if not reader.is_waiting or not isinstance(channel, CustomChannel):
            return
        until, count = channel.log.start, min(reader.page, PAGE)
        try:
            page = await self._store.after(reader.topic, reader.anchor - 1, until, count + 1)
        except AerostackError:
            self._later(RETRY_SECONDS, lambda: _rest(reader))
            return
        reader.busy = False
        if not reader.is_waiting or self._registry.find(reader.topic) is not channel:
            return
        if not page or page[0].position != reader.anchor or not self.holds(reader, channel):
            reader.lose()
            return
        reader.page = 2 * count
        self._send(reader, channel, page[1:], until, complete=len(page) <= count)

    def _send(
        self, reader: Reader, channel: CustomChannel, page: list[StoredMessage], until: int, *, complete: bool
    ) -> None:
        """Send what fits of a page; `complete`: nothing follows it up to `until`."""
        has, withheld, room = self._cursors.position(reader.cursor), _cursors(reader.behind), self._share
        parts: list[bytes] = []
        for index, message in enumerate(page):
            if room <= 0:
                complete, reader.page = False, index
                break
            reader.anchor = message.position
            if message.position > has and self._cursors.of(message.position) not in withheld:
                parts.append(self._delivery.stored_frame(message, streams=False))
                room -= len(parts[-1])
        reader.cursor = self._cursors.at(max(has, until if complete else reader.anchor))
        channel.log.counters.deliveries += len(parts)
        if data := b"".join(parts):
            try_write(reader.subscriber, data if reader.audience is not channel.chat_audience else as_chat(data))


def _rest(reader: Reader) -> None:
    reader.busy = False


def _cursors(behind: Behind) -> set[str]:
    """The cursors of the events that were withheld from a subscriber since it fell behind."""
    found = set()
    for frame in behind.withheld:
        message = messages.decode_reply(frames.payload(frame))
        if isinstance(message, messages.Event | messages.ChatMessage):
            found.add(message.cursor)
    return found
