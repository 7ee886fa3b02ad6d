"""Slow subscribers under the policy `resume`: served from the log at the speed at which their clients read.

A subscriber for which more than the limit waits leaves live delivery after a frame whose cursor is known. From
there it is a resume that the server started: one part of the log at a time, each once the client has taken most of
what was sent before, and back into live delivery without a seam. What the log of a custom channel no longer holds
comes from the message store, if all of it was persisted. Only what is recorded nowhere closes the connection.
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import thread_time
from typing import Final

from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import Cursors, Entry
from aerostack_realtime.channels.delivery import Delivery, as_chat
from aerostack_realtime.channels.fanout.audience import Audience, Behind
from aerostack_realtime.channels.fanout.slow_consumers import CHECK_SECONDS
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.store_reading import Reader, StoreReading
from aerostack_realtime.channels.table_readers import TURN_BYTES, TableReaders
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import ChangeFeed
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.protocol import frames, messages

Later = Callable[[float, Callable[[], None]], object]

SHARE: Final = 4
"""A part is at most a quarter of what may wait for a subscriber."""


class SlowReaders:
    """The subscriptions of one node that are behind live delivery.

    `soon` calls a function in the next iteration of the event loop, `later` after a delay in seconds. `limit` is
    how many bytes may wait for a subscriber, and `uses_chat` says whether it sends the legacy `chat` command. What
    is sent at once is bounded, whatever the number of readers.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        cursors: Cursors,
        delivery: Delivery,
        changes: ChangeFeed,
        store: MessageStore,
        soon: Callable[[Callable[[], None]], object],
        later: Later,
        limit: int,
        uses_chat: Callable[[Subscriber], bool],
        clock: Callable[[], float] = thread_time,
    ) -> None:
        self._registry = registry
        self._cursors = cursors
        self._delivery = delivery
        self._soon = soon
        self._later = later
        self._limit = limit
        self._uses_chat = uses_chat
        self._readers: list[Reader] = []
        self._events: deque[Reader] = deque()
        """Readers of custom channels that have not been looked at in this round."""
        self._tables = TableReaders(
            registry=registry,
            changes=changes,
            soon=soon,
            later=later,
            clock=clock,
            limit=limit,
            rejoin=self._rejoin,
        )
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
        events = []
        for reader in self._readers:
            if reader.is_waiting and not reader.busy:
                if isinstance(self._registry.find(reader.topic), CustomChannel):
                    events.append(reader)
                else:
                    self._tables.look(reader)
        self._tables.serve()
        if not self._events:
            self._events.extend(events)
            self._serve_some()
        self._readers = [each for each in self._readers if each.is_waiting]
        if self._readers:
            self._later(CHECK_SECONDS, self._look)
        else:
            self._tables.clear()

    # --- custom channels ---------------------------------------------------------------------------------

    def _is_logged(self, channel: CustomChannel, reader: Reader) -> bool:
        return self._cursors.position(reader.cursor) >= channel.log.start

    def _is_lost(self, channel: CustomChannel, reader: Reader) -> bool:
        return not self._is_logged(channel, reader) and not self._store.holds(reader, channel)

    def _serve_some(self) -> None:
        """Serve a few readers, then the others after what else the loop has to do."""
        room = TURN_BYTES
        while self._events and room > 0:
            reader = self._events.popleft()
            channel = self._registry.find(reader.topic)
            if reader.is_waiting and not reader.busy and isinstance(channel, CustomChannel):
                room -= self._serve_events(reader, channel)
        if self._events:
            self._soon(self._serve_some)

    def _serve_events(self, reader: Reader, channel: CustomChannel) -> int:
        """Send what fits of a custom channel's log, which may soon forget it, or ask the store for it. Returns how
        many bytes were sent."""
        channel.send_pieces()
        for audience in channel.audiences():
            audience.flush()
        if self._is_lost(channel, reader):
            reader.lose()
            return 0
        room = self._limit - reader.subscriber.buffered()
        if room < self._limit // SHARE or not reader.is_waiting:
            return 0
        if not self._is_logged(channel, reader):
            self._store.ask(reader)
            return 0
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
        if reader.audience is channel.chat_audience:
            data = as_chat(data)
        if data:
            try_write(reader.subscriber, data)
        return len(data)

    def _shown(self, reader: Reader, part: Sequence[Entry]) -> Sequence[Entry]:
        """The entries that concern a reader."""
        behind = reader.behind
        withheld = set(behind.withheld)
        return [each for each in part if (behind.presence or not each.presence) and each.frame not in withheld]

    def _rejoin(self, reader: Reader, channel: CustomChannel | TableChannel) -> None:
        reader.audience.add(reader.subscriber, presence=reader.behind.presence)
        if isinstance(channel, CustomChannel) and self._uses_chat(reader.subscriber):
            channel.use_chat(reader.subscriber)


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
