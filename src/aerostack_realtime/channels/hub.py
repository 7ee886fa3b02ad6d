"""The hub: every channel of this node, and what happens to each command.

Synchronous but for `start`: no method waits, so between a decision and its record nothing else can happen.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Raw, Struct

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Publish, Track, Untrack
from aerostack_realtime.channels.custom.cursors import Cursors
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.delivery import CHAT_MESSAGE as CHAT_MESSAGE
from aerostack_realtime.channels.delivery import Delivery, frame_of
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.replica import Done, Replica
from aerostack_realtime.channels.replica import Outcome as Outcome
from aerostack_realtime.channels.subscriptions import Subscriptions
from aerostack_realtime.database.base import Change, ChangeFeed, MessageStore
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import BadMessage, Forbidden, NotFound
from aerostack_realtime.protocol.messages import Member, encode

MAX_EVENT_NAME: Final = 256
"""Characters of an event's name: it is a word, and stands in every frame."""
MAX_ID: Final = 256
"""Characters of a publish's id: ids are remembered, so they are no place for data."""


class ChannelStatus(Struct, frozen=True, rename="camel"):
    """A channel as an operator sees it."""

    topic: str
    subscribers: int
    members: int


class Hub:
    """The channels of one node.

    `defer` runs a callable once the current tick has ended, `later` one after so many seconds; `buffer_limit` is
    how many bytes may wait for a subscriber before it is too slow, `presence_limit` how many members of a
    channel are shown; `logs` makes the logs of channels. The hub is the listener of the change feed, its replica
    that of the journal. All topics given to it are canonical.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        changes: ChangeFeed,
        store: MessageStore,
        defer: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        buffer_limit: int,
        presence_limit: int,
        logs: Logs,
    ) -> None:
        self._journal = journal
        self._changes = changes
        self._connections: dict[str, Subscriber] = {}
        self._registry = Registry(defer, later, buffer_limit, logs)
        self._cursors = Cursors(journal)
        delivery = Delivery(self._registry, self._cursors, self._connections)
        self._replica = Replica(
            journal=journal,
            registry=self._registry,
            delivery=delivery,
            cursors=self._cursors,
            store=store,
            defer=defer,
        )
        self.subscriptions = Subscriptions(
            self._registry,
            self._cursors,
            self._replica.members,
            delivery,
            journal,
            changes,
            buffer_limit,
            presence_limit,
        )
        self._presence_limit = presence_limit
        self._tracking: dict[Subscriber, set[str]] = {}

    async def start(self) -> None:
        """Take in what the journal holds. Raises JournalUnusable."""
        await self._journal.start(self._replica)

    # --- connections -------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        """A connection is there."""
        self._connections[subscriber.connection_id] = subscriber
        self.subscriptions.join(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """A connection is gone, with its subscriptions and its presence. Idempotent."""
        self._connections.pop(subscriber.connection_id, None)
        self.subscriptions.leave(subscriber)
        for topic in list(self._tracking.get(subscriber, ())):
            self.untrack(subscriber, topic)

    # --- events ------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        event: str,
        data: Raw,
        done: Done,
        *,
        user_id: str | None = None,
        id: str | None = None,
        persist: bool = False,
        without: str | None = None,
    ) -> None:
        """Publish an event; `done` is called when it is accepted, a persisted one after its commit.

        Raises BadMessage, Forbidden, Overloaded, Unavailable.
        """
        if not event or len(event) > MAX_EVENT_NAME:
            raise BadMessage(f"An event's name is 1 to {MAX_EVENT_NAME} characters long.")
        if event.startswith("presence:"):
            raise BadMessage("Events named presence:… are the server's own; use track and untrack.")
        if id is not None and not 1 <= len(id) <= MAX_ID:
            raise BadMessage(f"The id of a publish is 1 to {MAX_ID} characters long.")
        if topics.table_of(topic) is not None:
            raise Forbidden(
                "Row changes come from the database alone: write to the table, or use a topic with a slash."
            )
        self._replica.append(Publish(topic, event, bytes(data), user_id, id, persist, without), done)

    # --- presence ----------------------------------------------------------------------------------------

    def track(
        self, subscriber: Subscriber, topic: str, user_id: str, state: dict[str, Any], done: Done | None = None
    ) -> None:
        """Announce `subscriber` as a connection of a custom channel's member `user_id`.

        `done` is called when every later event follows it. Raises Overloaded, Unavailable.
        """
        self._replica.append(Track(topic, subscriber.connection_id, user_id, encode(state)), done)
        self._tracking.setdefault(subscriber, set()).add(topic)

    def untrack(self, subscriber: Subscriber, topic: str, done: Done | None = None) -> None:
        """Remove `subscriber` from the members; one that is not tracked changes nothing. Raises as `track`."""
        topics_of_it = self._tracking.get(subscriber, set())
        if topic not in topics_of_it:
            if done is not None:
                done(Outcome(self._cursors.at(self._journal.last), 0))
            return
        topics_of_it.discard(topic)
        if not topics_of_it:
            self._tracking.pop(subscriber, None)
        self._replica.append(Untrack(topic, subscriber.connection_id), done)

    def members(self, topic: str) -> list[Member]:
        return self._replica.members.of(topic, self._presence_limit)

    # --- the change feed's listener ----------------------------------------------------------------------

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            channel = self._registry.of_table(change.table)
            if channel is not None:
                channel.deliver(change)

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        channel = self._registry.of_table(table)
        if channel is None:
            return
        if present:
            channel.interrupted(cursor, self._changes.column_types(table))
        else:
            gone = NotFound(
                f"The table {table!r} was dropped, renamed, or is no longer accessible; the subscription resumes "
                "when it returns."
            )
            frame = frame_of(messages.Error.of(gone, topic=channel.topic))
            for audience in channel.audiences():
                audience.append(frame)

    # --- the owner's -------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Forget what has become too old. Call it every few seconds."""
        self._registry.expire(self._journal.last)

    def flush(self) -> None:
        """Write every buffer now. It happens by itself at the end of each tick; call it before closing."""
        self._registry.flush()

    def channels(self) -> list[ChannelStatus]:
        """The channels that somebody is subscribed to or present on."""
        members = self._replica.members
        found = {
            channel.topic: ChannelStatus(channel.topic, channel.subscribers, members.count(channel.topic))
            for channel in self._registry
        }
        for topic in members.topics():
            if topic not in found:
                found[topic] = ChannelStatus(topic, 0, members.count(topic))
        return list(found.values())
