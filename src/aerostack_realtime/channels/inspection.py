"""What an operator's question needs to know about this node's channels, without changing them."""

from collections.abc import Callable, Collection, Iterator, Mapping

from msgspec import UNSET, Struct

from aerostack_realtime.access.rows import Scope
from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import Cursors, Entry
from aerostack_realtime.channels.custom.members import Members
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.channels.tables.views import View, Views
from aerostack_realtime.database.base import ChangeFeed
from aerostack_realtime.protocol import frames, messages, topics
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


class LogExtent(Struct, frozen=True, rename="camel"):
    """How much a custom channel's log holds on this node."""

    events: int
    bytes: int


class OpenStream(Struct, frozen=True, rename="camel"):
    """A stream that has not ended. `since` is in ms, `bytes` its content's, `n` how many pieces it has."""

    topic: str
    id: str
    event: str
    user_id: str | None
    since: int
    n: int
    bytes: int
    persist: bool


class TableWatch(Struct, frozen=True):
    """The subscriptions to a table on this node: how many, and of how many different filters and row rules."""

    table: str
    views: int
    subscribers: int


class Inspection:
    """`connections` are this node's by their ids, `members` those of the cluster, and `joined` says which topics a
    connection is subscribed to, and `behind` on which it is served from the log, after which cursor."""

    def __init__(
        self,
        registry: Registry,
        cursors: Cursors,
        changes: ChangeFeed,
        connections: Mapping[str, Subscriber],
        members: Members,
        joined: Callable[[Subscriber], Collection[str]],
        behind: Callable[[Subscriber], Mapping[str, str]],
    ) -> None:
        self._behind = behind
        self._members = members
        self._joined = joined
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

    def has_heard(self, topic: str, cursor: str, connection: str, *, presence: bool) -> bool:
        """Whether a connection that subscribed to a custom channel at `cursor` was sent an event since."""
        if any(each.topic == topic for each in self.streams()):
            return True
        if topic not in self._registry.topics():
            return False
        missed, complete = self._registry.log(topic).after(*self._cursors.place(cursor))
        return not complete or any(
            each.without != connection and (presence or not each.presence) for each in missed
        )

    def topics(self) -> set[str]:
        """Every topic with subscribers or events on this node."""
        return self._registry.topics()

    def subscribers(self, search: str = "") -> dict[str, int]:
        """Every topic that contains `search` with subscribers or events on this node, and its subscribers; without
        the console's own."""
        registry = self._registry
        found = {channel.topic: channel.subscribers for channel in registry}
        for topic in registry.topics().difference(found):
            found[topic] = 0
        own = topics.CONSOLE_END
        return {topic: count for topic, count in found.items() if search in topic and not topic.endswith(own)}

    def subscriber_count(self, topic: str) -> int:
        """The subscribers of a channel on this node."""
        channel = self._registry.find(topic)
        return 0 if channel is None else channel.subscribers

    def member_count(self, topic: str) -> int:
        """The members of a channel on all nodes."""
        return self._members.count(topic)

    def member_topics(self) -> list[str]:
        """The topics that anybody is present on."""
        return self._members.topics()

    def log(self, topic: str) -> LogExtent | None:
        """The log of a custom channel; None where there is none."""
        if topics.table_of(topic) is not None or topic not in self._registry.topics():
            return None
        log = self._registry.log(topic)
        return LogExtent(len(log), log.size)

    def joined(self, connection: str) -> Collection[str]:
        """The topics that a connection is subscribed to."""
        subscriber = self._connections.get(connection)
        return () if subscriber is None else self._joined(subscriber)

    def behind(self, connection: str) -> dict[str, int | None]:
        """The topics on which a connection is served from the log because it reads too slowly, and how many events
        it lacks there; None for a table, whose log is in the database."""
        subscriber = self._connections.get(connection)
        found = {} if subscriber is None else self._behind(subscriber)
        return {topic: self._lacks(topic, cursor) for topic, cursor in found.items()}

    def _lacks(self, topic: str, cursor: str) -> int | None:
        if topics.table_of(topic) is not None:
            return None
        missed, _ = self._registry.log(topic).after(*self._cursors.place(cursor))
        return len(missed)

    def subscribed(self, topic: str, limit: int) -> list[str]:
        """Up to `limit` connections of this node that are subscribed to a topic."""
        channel = self._registry.find(topic)
        found = []
        for id, subscriber in self._connections.items() if channel is not None else ():
            if topic in self._joined(subscriber):
                found.append(id)
                if len(found) >= limit:
                    break
        return found

    def streams(self) -> list[OpenStream]:
        """The streams of the cluster that are open, oldest first."""
        found = [
            OpenStream(
                each.topic,
                each.id,
                each.event,
                each.user_id,
                each.timestamp,
                each.n,
                each.size,
                each.persist,
            )
            for streams in self._registry.streams.values()
            for each in streams.values()
        ]
        return sorted(found, key=lambda each: each.since)

    def tables(self) -> list[TableWatch]:
        """The tables with subscribers on this node."""
        return [
            TableWatch(each.table, len(each.views), each.subscribers)
            for each in self._registry
            if isinstance(each, TableChannel)
        ]

    def show(self, topic: str, frame: bytes) -> None:
        """Send a frame to the subscribers of a channel on this node alone; it is not kept."""
        channel = self._registry.find(topic)
        if isinstance(channel, CustomChannel):
            channel.audience.append(frame)

    def end(self, topic: str) -> str:
        """The cursor of the end of a custom channel."""
        return self._cursors.at(self._registry.log_end(topic))

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
