"""What an operator's question needs to know about this node's channels, without changing them."""

from collections.abc import Iterator, Mapping

from msgspec import UNSET, Struct

from aerostack_realtime.access.rows import Scope
from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.custom.log import Cursors, Entry
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.tables.views import View, Views
from aerostack_realtime.database.base import ChangeFeed
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.messages import Filter


class FoundEvent(Struct, frozen=True):
    """An event of a custom channel. `timestamp` is in ms; `without` is the connection that does not receive it,
    `stored` whether it was found in the history."""

    topic: str
    id: str
    event: str
    position: int
    timestamp: int
    user_id: str | None = None
    presence: bool = False
    without: str | None = None
    stored: bool = False


class Inspection:
    """`connections` are this node's by their ids."""

    def __init__(
        self,
        registry: Registry,
        cursors: Cursors,
        changes: ChangeFeed,
        connections: Mapping[str, Subscriber],
    ) -> None:
        self._registry = registry
        self._cursors = cursors
        self._changes = changes
        self._connections = connections

    def event(self, topic: str, id: str) -> FoundEvent | None:
        """The event of a custom channel with this id, if the channel's log still has it."""
        if topic not in self._registry.topics():
            return None
        entries, _ = self._registry.log(topic).after(-1)
        for entry in reversed(entries):
            for found in _events(topic, entry):
                if found.id == id:
                    return found
        return None

    def topics(self) -> set[str]:
        """Every topic with subscribers or events on this node."""
        return self._registry.topics()

    def position(self, cursor: str) -> int:
        """The position of a custom channel's cursor; -1 for one of another journal."""
        return self._cursors.position(cursor)

    def waiting(self, connection: str) -> int:
        """How many bytes the client of a connection has not taken yet."""
        subscriber = self._connections.get(connection)
        return 0 if subscriber is None else subscriber.buffered()

    def view(self, table: str, filter: Filter | None, scope: Scope) -> View:
        """The view of a filter within a scope, as a subscription has it, without subscribers.

        Raises InvalidFilter, Forbidden.
        """
        views = Views(lambda: Audience(lambda _: None, 0, lambda _: None))
        return views.view(filter, self._changes.columns(table), scope, self._changes.column_types(table))


def _events(topic: str, entry: Entry) -> Iterator[FoundEvent]:
    """The events of an entry of a log."""
    if isinstance(entry.item, Publish):
        item = entry.item
        id = item.id or f"{entry.position:x}"
        yield FoundEvent(
            topic, id, item.event, entry.position, entry.timestamp, item.user_id, without=item.without
        )
    if entry.stream is not None:
        stream = entry.stream
        yield FoundEvent(topic, stream.id, stream.event, entry.position, stream.timestamp, stream.user_id)
    rest = entry.frame
    while rest:
        size = frames.size(rest)
        message = messages.decode_reply(frames.payload(rest[:size]))
        rest = rest[size:]
        if isinstance(message, messages.Event):
            yield FoundEvent(
                topic=topic,
                id=message.id,
                event=message.event,
                position=entry.position,
                timestamp=message.timestamp,
                user_id=None if message.user_id is UNSET else message.user_id,
                presence=entry.presence,
                without=entry.without,
            )
