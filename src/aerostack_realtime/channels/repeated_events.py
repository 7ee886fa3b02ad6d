"""The short way of an event that repeats what its publisher published before, with other data and another id.

Most publishers stay with one channel and one kind of event: positions of a cursor, chat, the moves of a game.
Then all checks have passed, and the frame but for its data, time and position can be kept.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.backplane.memory import MemoryJournal
from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import SentEvent
from aerostack_realtime.channels.custom.receipts import Receipt
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.outcome import Done
from aerostack_realtime.channels.publishing import Publishing
from aerostack_realtime.protocol.event_frames import ack_frame, published_frame, template


class Otherwise(Protocol):
    """As `Replica.append`."""

    def __call__(self, item: Publish, done: Done | None, *, alone: bool = False) -> None: ...


class RepeatedEvents:
    """Publishes further events of a user on a canonical topic, all with the same name; the first one was checked
    and published by the hub. They are not persisted. The connection `without` does not receive them.

    In the `journal` of a single node an event enters at once. So it can be delivered here, if the channel is heard
    and nothing of it waits; in all other cases it is published by `otherwise`.
    """

    __slots__ = (
        "_begin",
        "_channels",
        "_clock",
        "_connections",
        "_end",
        "_event",
        "_journal",
        "_otherwise",
        "_owner",
        "_publishing",
        "_topic",
        "_user_id",
        "_without",
    )

    def __init__(
        self,
        topic: str,
        event: str,
        user_id: str | None,
        without: str | None,
        *,
        journal: Journal,
        channels: dict[str, CustomChannel],
        connections: Mapping[str, Subscriber],
        publishing: Publishing,
        otherwise: Otherwise,
    ) -> None:
        kept = template(topic, event, user_id)
        self._begin: Final = kept.begin
        self._end: Final = kept.end
        self._topic = topic
        self._owner = user_id or ""
        self._event = event
        self._user_id = user_id
        self._without = without
        self._journal = journal
        self._clock = journal.clock if isinstance(journal, MemoryJournal) else None
        self._channels = channels
        self._connections = connections
        self._publishing = publishing
        self._otherwise = otherwise

    def publish(self, data: bytes, id: str | None = None) -> bytes | None:
        """Publish another one with this `data` (JSON), if it enters at once. An `id` needs no escapes in
        JSON. Returns the frame of its acknowledgement, which is empty without an id. None: nothing was done, so
        call `publish_otherwise`."""
        clock, publishing = self._clock, self._publishing
        channel = self._channels.get(self._topic)
        if (
            clock is None
            or channel is None
            or channel.replay is not None
            or channel.chat_audience is not None
            or channel.stream_audience is not None
            or publishing.held
        ):
            return None
        key = None
        if id is not None:
            key = self._topic, self._owner, id
            if not publishing.is_new(key):
                return None
        position = clock.next()
        at, epoch = clock.at // 1000, self._journal.epoch
        publishing.delivered += position
        frame = published_frame(self._begin, data, at, position, epoch, self._end, id)
        size = len(frame)
        if self._without is None:
            channel.log.add(SentEvent(position, frame, False, size))
            channel.audience.append(frame, False, None, size)
        else:
            channel.log.add(SentEvent(position, frame, False, size, None, self._without))
            channel.audience.append(frame, False, self._connections.get(self._without), size)
        if key is None:
            return b""
        publishing.receipts.remember(key, Receipt(position, at, position))
        return ack_frame(key[2], at, position, epoch)

    def publish_otherwise(
        self, data: bytes, id: str | None = None, done: Done | None = None, *, alone: bool = False
    ) -> None:
        """Publish another one as any event; `done` is its answer. `alone` as in `Journal.append`. Raises Conflict,
        Overloaded, Unavailable."""
        item = Publish(self._topic, self._event, data, self._user_id, id, False, self._without)
        self._otherwise(item, done, alone=alone)
