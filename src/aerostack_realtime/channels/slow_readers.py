"""Slow subscribers under the policy `resume`: served from the log at the speed at which their clients read.

A subscriber for which more than the limit waits leaves live delivery after a frame whose cursor is known. From
there it is a resume that the server started: one part of the log at a time, each once the client has taken most of
what was sent before, and back into live delivery without a seam. What the log of a custom channel no longer holds
comes from the message store, if all of it was persisted. Only what is recorded nowhere closes the connection.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import Cursors, Entry
from aerostack_realtime.channels.delivery import Delivery, as_chat
from aerostack_realtime.channels.fanout.audience import Audience, Behind
from aerostack_realtime.channels.fanout.slow_consumers import CHECK_SECONDS
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.store_reading import RETRY_SECONDS, Reader, StoreReading
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import ChangeFeed, Replay
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import AerostackError, NotFound

Later = Callable[[float, Callable[[], None]], object]

SHARE: Final = 4
"""A part is at most a quarter of what may wait for a subscriber."""
LONGEST_REST_SECONDS: Final = 0.1
"""The longest pause after a part of a table's log, whose reading may have waited for the database."""


class SlowReaders:
    """The subscriptions of one node that are behind live delivery.

    `later` calls a function after a delay in seconds, `limit` is how many bytes may wait for a subscriber, and
    `uses_chat` says whether it sends the legacy `chat` command.

    Reading tables' logs takes at most half of the server's time, whatever the number of readers: one part is read
    at a time, and followed by a pause that is as long as reading and sending it took.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        cursors: Cursors,
        delivery: Delivery,
        changes: ChangeFeed,
        store: MessageStore,
        later: Later,
        limit: int,
        uses_chat: Callable[[Subscriber], bool],
    ) -> None:
        self._registry = registry
        self._cursors = cursors
        self._delivery = delivery
        self._changes = changes
        self._later = later
        self._limit = limit
        self._uses_chat = uses_chat
        self._readers: list[Reader] = []
        self._queue: deque[Reader] = deque()
        self._reading = False
        self._began = 0.0
        self._store = StoreReading(
            registry=registry,
            cursors=cursors,
            delivery=delivery,
            store=store,
            later=later,
            share=limit // SHARE,
        )
        registry.fell_behind = self.fell_behind

    def __len__(self) -> int:
        return sum(each.is_waiting for each in self._readers)

    async def run(self) -> None:
        """Read what readers lack from the message store, until cancelled."""
        await self._store.run()

    def behind(self, subscriber: Subscriber) -> dict[str, str]:
        """The topics on which a subscriber is served from the log, and the cursor of what was written last."""
        return {
            each.topic: each.cursor for each in self._readers if each.subscriber is subscriber and each.is_waiting
        }

    def fell_behind(
        self, audience: Audience, subscriber: Subscriber, behind: Behind, sent: Sequence[bytes]
    ) -> bool:
        """A subscriber left live delivery after the frames `sent`. Returns whether it is served from the log."""
        last = _last(sent)
        channel = None if last is None else self._registry.find(last[0])
        if last is None or channel is None:
            return False
        topic, cursor = last
        streams: dict[str, int] | bool = False
        anchor = 0
        if isinstance(channel, CustomChannel):
            anchor = channel.log.newest_stored(self._cursors.position(cursor))
            if audience is channel.stream_audience:
                open_streams = self._registry.streams.get(topic, {})
                streams = {id: stream.sent for id, stream in open_streams.items() if stream.visible}
        reader = Reader(topic, subscriber, audience, behind, cursor, streams, anchor)
        if isinstance(channel, CustomChannel) and self._is_lost(channel, reader):
            return False
        if not self._readers:
            self._later(CHECK_SECONDS, self._look)
        self._readers.append(reader)
        return True

    def _look(self) -> None:
        """Serve the readers whose clients have taken most of what was sent to them."""
        for reader in list(self._readers):
            if not reader.is_waiting or reader.busy:
                continue
            channel = self._registry.find(reader.topic)
            if isinstance(channel, CustomChannel):
                self._serve_events(reader, channel)
            elif reader.subscriber.buffered() <= self._limit // SHARE:
                reader.busy = True
                self._queue.append(reader)
        self._read()
        self._readers = [each for each in self._readers if each.is_waiting]
        if self._readers:
            self._later(CHECK_SECONDS, self._look)

    # --- custom channels ---------------------------------------------------------------------------------

    def _is_logged(self, channel: CustomChannel, reader: Reader) -> bool:
        return self._cursors.position(reader.cursor) >= channel.log.start

    def _is_lost(self, channel: CustomChannel, reader: Reader) -> bool:
        return not self._is_logged(channel, reader) and not self._store.holds(reader, channel)

    def _serve_events(self, reader: Reader, channel: CustomChannel) -> None:
        """Send what fits of a custom channel's log, which may soon forget it, or ask the store for it."""
        channel.send_pieces()
        for audience in channel.audiences():
            audience.flush()
        if self._is_lost(channel, reader):
            reader.lose()
            return
        room = self._limit - reader.subscriber.buffered()
        if room < self._limit // SHARE or not reader.is_waiting:
            return
        if not self._is_logged(channel, reader):
            self._store.ask(reader)
            return
        channel.log.encode(self._delivery.frame)
        missed, _ = channel.log.after(*self._cursors.place(reader.cursor))
        part = missed if isinstance(reader.streams, dict) else _first(missed, self._limit // SHARE)
        shown = self._shown(reader, part)
        if len(part) < len(missed):
            data = self._delivery.replay(channel, shown, False, reader.cursor)
            reader.cursor = self._cursors.at(part[-1].position)
            reader.anchor = channel.log.newest_stored(part[-1].position) or reader.anchor
        else:
            data = self._delivery.replay(channel, shown, reader.streams, reader.cursor)
            self._rejoin(reader, channel)
        self._write(reader, data if reader.audience is not channel.chat_audience else as_chat(data))

    def _shown(self, reader: Reader, part: Sequence[Entry]) -> Sequence[Entry]:
        """The entries that concern a reader."""
        behind = reader.behind
        withheld = set(behind.withheld)
        return [each for each in part if (behind.presence or not each.presence) and each.frame not in withheld]

    def _rejoin(self, reader: Reader, channel: CustomChannel | TableChannel) -> None:
        reader.audience.add(reader.subscriber, presence=reader.behind.presence)
        if isinstance(channel, CustomChannel) and self._uses_chat(reader.subscriber):
            channel.use_chat(reader.subscriber)

    def _write(self, reader: Reader, data: bytes) -> None:
        if data:
            try_write(reader.subscriber, data)

    # --- tables ------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read the next part of a table's log."""
        while self._queue and not self._reading:
            reader = self._queue.popleft()
            channel = self._registry.find(reader.topic)
            if reader.is_waiting and isinstance(channel, TableChannel):
                self._reading, self._began = True, perf_counter()
                self._changes.replay(
                    channel.table, reader.cursor, partial(self._replayed, reader), partial(self._failed, reader)
                )

    def _replayed(self, reader: Reader, part: Replay) -> None:
        channel = self._registry.find(reader.topic)
        if reader.is_waiting and isinstance(channel, TableChannel):
            self._serve_changes(reader, channel, part)
        if reader.is_waiting and reader.subscriber.buffered() <= self._limit // SHARE:
            self._queue.append(reader)
        else:
            reader.busy = False
        self._later(min(perf_counter() - self._began, LONGEST_REST_SECONDS), self._rested)

    def _rested(self) -> None:
        self._reading = False
        self._read()

    def _serve_changes(self, reader: Reader, channel: TableChannel, part: Replay) -> None:
        if not part.recovered:
            reader.lose()
            return
        try:
            missed = channel.replayed(part.changes, channel.view(reader.subscriber))
        except RuleFailed as failure:
            reader.subscriber.deny(reader.topic, failure)
            return
        reader.cursor = part.cursor
        channel.counters.bytes += len(missed)
        if not part.more:
            self._rejoin(reader, channel)
        self._write(reader, missed)

    def _failed(self, reader: Reader, error: AerostackError) -> None:
        channel = self._registry.find(reader.topic)
        if isinstance(error, NotFound) and reader.is_waiting and channel is not None:
            # As for live subscribers of a table that is dropped: they hear of its return.
            self._rejoin(reader, channel)
            self._write(reader, frames.encode(messages.Error.of(error, topic=reader.topic)))

        def retry() -> None:
            reader.busy = False

        self._later(RETRY_SECONDS, retry)
        self._later(CHECK_SECONDS, self._rested)


def _last(sent: Sequence[bytes]) -> tuple[str, str] | None:
    """The topic and the cursor of the last frame that has a cursor."""
    for frame in reversed(sent):
        message = messages.decode_reply(frames.payload(frame))
        if isinstance(
            message,
            messages.Event | messages.ChatMessage | messages.DbChange | messages.Subscribed | messages.Appended,
        ):
            return message.topic, message.cursor
    return None


def _first(missed: list[Entry], room: int) -> list[Entry]:
    """The first entries that together take at most `room` bytes, at least one of them."""
    for count, each in enumerate(missed):
        room -= each.size
        if room < 0:
            return missed[: count + 1]
    return missed
