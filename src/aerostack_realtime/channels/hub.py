"""The hub: every channel of this node, what happens to each command, and the flush at the end of a tick.

Synchronous throughout: no method waits, so between a decision and its record nothing else can happen.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from aerostack_realtime.backplane.base import Accepted, Backplane
from aerostack_realtime.channels.custom.channel import CustomChannel, PendingEvent
from aerostack_realtime.channels.custom.clock import HybridClock
from aerostack_realtime.channels.custom.cursors import Cursors
from aerostack_realtime.channels.custom.dedup import Dedup, Receipt
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.custom.presence import Change as PresenceChange
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.subscriptions import Subscriptions, frame_of
from aerostack_realtime.database.base import (
    Change,
    ChangeFeed,
    MessageStore,
    NewMessage,
    Stored,
)
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Forbidden, NotFound
from aerostack_realtime.protocol.messages import Member, encode

MAX_EVENT_NAME = 256
"""Characters of an event's name: it is a word, and stands in every frame."""
CHAT_MESSAGE = "chat_message"
"""The event that the legacy `chat` command publishes."""
MAX_ID = 256
"""Characters of a publish's id: ids are remembered, so they are no place for data."""


class Outcome(Struct, frozen=True, gc=False):
    """An accepted publish: where and when (ms), and whether it was a repeat of one accepted before."""

    cursor: str
    timestamp: int
    duplicate: bool = False


class ChannelStatus(Struct, frozen=True, rename="camel"):
    """A channel as an operator sees it."""

    topic: str
    subscribers: int
    members: int


class Hub:
    """The channels of one node.

    `epoch` and `understands` are the database's: what cursors are made of.

    `defer` runs a callable once the current tick has ended, `later` one in so many seconds; `buffer_limit` is
    how many bytes may wait for a subscriber before it is too slow, `presence_limit` how many members of a
    channel are shown to whoever asks or comes; `logs` makes the logs of channels. The hub is the listener of the
    change feed, and `deliver` of the backplane. All topics given to it are canonical.
    """

    def __init__(
        self,
        *,
        epoch: Callable[[], str],
        understands: Callable[[str, int], bool],
        clock: HybridClock,
        changes: ChangeFeed,
        store: MessageStore,
        backplane: Callable[[Callable[[Accepted], None]], Backplane],
        defer: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        buffer_limit: int,
        presence_limit: int,
        logs: Logs,
    ) -> None:
        self._clock = clock
        self._changes = changes
        self._store = store
        self._backplane = backplane(self.deliver)
        self._registry = Registry(defer, later, buffer_limit, logs, clock.last)
        self._cursors = Cursors(epoch, understands)
        self.subscriptions = Subscriptions(
            self._registry, self._cursors, clock, changes, buffer_limit, presence_limit
        )
        self._presence_limit = presence_limit
        self._connections: dict[str, Subscriber] = {}
        self._tracking: dict[Subscriber, set[str]] = {}
        self._dedup = Dedup()

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
        done: Callable[[Outcome | AerostackError], None],
        *,
        user_id: str | None = None,
        id: str | None = None,
        persist: bool = False,
        without: str | None = None,
    ) -> None:
        """Accept an event; `done` is called at once, or for a persisted one after its commit.

        Raises BadMessage, Forbidden, Overloaded.
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
        if id is not None:
            key = (topic, user_id or "", id)
            known = self._dedup.find(key)
            if known is not None:
                done(Outcome(known.cursor, known.timestamp, duplicate=True))
                return
        channel = self._registry.custom(topic)
        position = self._clock.next()
        accepted = Accepted(
            topic, event, data, user_id, id or f"{position:x}", self._clock.timestamp, position, without=without
        )
        if persist:
            self._persist(channel, accepted, done)
            return
        outcome = Outcome(self._cursors.at(position), accepted.timestamp)
        if id is not None:
            self._dedup.remember(key, Receipt(outcome.cursor, outcome.timestamp), position)
        self._send(channel, accepted)
        done(outcome)

    def deliver(self, event: Accepted) -> None:
        """Send an event to the channel's subscribers on this node."""
        channel = self._registry.custom(event.topic)
        frame = self._event(event, self._cursors.at(event.position))
        channel.log.append(event.position, frame, presence=event.presence)
        without = self._connections.get(event.without) if event.without is not None else None
        channel.audience.append(frame, presence=event.presence, without=without)
        if channel.chat_audience is not None:
            if event.event == CHAT_MESSAGE:
                frame = self._chat_message(event, self._cursors.at(event.position))
            channel.chat_audience.append(frame, presence=event.presence, without=without)

    # --- presence ----------------------------------------------------------------------------------------

    def track(self, subscriber: Subscriber, topic: str, user_id: str, state: dict[str, Any]) -> str:
        """Announce `subscriber` as a connection of a custom channel's member `user_id`. Returns the channel's
        cursor."""
        channel = self._registry.custom(topic)
        self._tracking.setdefault(subscriber, set()).add(topic)
        self._clock.next()
        now = self._clock.timestamp
        self._announce(channel, channel.presence.track(subscriber.connection_id, user_id, encode(state), now))
        return self._cursors.at(channel.log.last)

    def untrack(self, subscriber: Subscriber, topic: str) -> str:
        """Take `subscriber` out of the members; one that is not tracked is nothing."""
        topics_of_it = self._tracking.get(subscriber, set())
        topics_of_it.discard(topic)
        if not topics_of_it:
            self._tracking.pop(subscriber, None)
        channel = self._registry.find(topic)
        if not isinstance(channel, CustomChannel):
            return self._cursors.at(self._clock.last)
        self._announce(channel, channel.presence.untrack(subscriber.connection_id))
        self._registry.tidy(channel)
        return self._cursors.at(channel.log.last)

    def members(self, topic: str) -> list[Member]:
        channel = self._registry.find(topic)
        return channel.presence.members(self._presence_limit) if isinstance(channel, CustomChannel) else []

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
                f"The table {table!r} was dropped, renamed or taken away from us; this subscription goes on when "
                "it is back."
            )
            frame = frame_of(messages.Error.of(gone, topic=channel.topic))
            for audience in channel.audiences():
                audience.append(frame)

    # --- the owner's -------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Forget what has become too old. Call it every few seconds."""
        self._registry.expire(self._clock.next())

    def flush(self) -> None:
        """Write every buffer now. It happens by itself at the end of each tick; call it before closing."""
        self._registry.flush()

    def channels(self) -> list[ChannelStatus]:
        """The channels that someone is subscribed to or present on."""
        return [
            ChannelStatus(channel.topic, channel.subscribers, channel.members)
            for channel in self._registry
            if channel.subscribers or channel.members
        ]

    # --- inside ------------------------------------------------------------------------------------------

    def _announce(self, channel: CustomChannel, changes: list[PresenceChange]) -> None:
        for change in changes:
            position = self._clock.next()
            self._send(
                channel,
                Accepted(
                    topic=channel.topic,
                    event=change.transition,
                    data=change.state,
                    user_id=change.user_id,
                    id=f"{position:x}",
                    timestamp=self._clock.timestamp,
                    position=position,
                    presence=True,
                ),
            )

    def _persist(
        self, channel: CustomChannel, event: Accepted, done: Callable[[Outcome | AerostackError], None]
    ) -> None:
        held: PendingEvent

        def settle(outcome: Stored | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                channel.drop(held)
                done(outcome)
            else:
                stored = outcome.message
                if outcome.duplicate:
                    channel.drop(held)
                else:
                    held.event = replace(event, timestamp=stored.created_at)
                    held.settled = True
                done(Outcome(self._cursors.at(stored.position), stored.created_at, outcome.duplicate))
            for released in channel.release():
                self._backplane.publish(released)

        self._store.append(
            NewMessage(event.topic, event.id, event.user_id or "", event.event, event.data, event.position),
            settle,
        )
        held = channel.hold(event, settled=False)

    def _send(self, channel: CustomChannel, event: Accepted) -> None:
        if channel.holds:
            channel.hold(event, settled=True)
        else:
            self._backplane.publish(event)

    def _event(self, event: Accepted, cursor: str) -> bytes:
        return frame_of(
            messages.Event(
                topic=event.topic,
                event=event.event,
                data=event.data,
                timestamp=event.timestamp,
                id=event.id,
                cursor=cursor,
                user_id=UNSET if event.user_id is None else event.user_id,
            )
        )

    def _chat_message(self, event: Accepted, cursor: str) -> bytes:
        """The same event as it is sent to subscribers that use the legacy `chat` command."""
        return frame_of(
            messages.ChatMessage(
                topic=event.topic,
                event=event.event,
                data=event.data,
                timestamp=event.timestamp,
                id=event.id,
                cursor=cursor,
                user_id=UNSET if event.user_id is None else event.user_id,
            )
        )
