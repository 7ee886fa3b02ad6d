"""The hub: every channel of this node, what happens to each command, and the flush at the end of a tick.

Synchronous throughout: no method waits, so between a decision and its record nothing else can happen.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.backplane.base import Accepted, Backplane
from aerostack_realtime.channels.audience import Subscriber, hand
from aerostack_realtime.channels.channel import CustomChannel, Held, TableChannel
from aerostack_realtime.channels.clock import HybridClock
from aerostack_realtime.channels.dedup import Dedup, Receipt
from aerostack_realtime.channels.directory import Directory
from aerostack_realtime.channels.log import MAX_AGE_US
from aerostack_realtime.channels.presence import Change as PresenceChange
from aerostack_realtime.channels.views import View
from aerostack_realtime.database.base import (
    Change,
    ChangeFeed,
    MessageStore,
    NewMessage,
    Replay,
    Selection,
    Stored,
    StoredMessage,
)
from aerostack_realtime.protocol import frames, messages, topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Forbidden, NotFound
from aerostack_realtime.protocol.messages import Member, encode

MAX_EVENT_NAME = 256
"""Characters of an event's name: it is a word, and stands in every frame."""
MAX_ID = 256
"""Characters of a publish's id: ids are remembered, so they are no place for data."""


class Outcome(Struct, frozen=True, gc=False):
    """An accepted publish: where and when (ms), and whether it was a repeat of one accepted before."""

    cursor: str
    timestamp: int
    duplicate: bool = False


class Gap(Struct, frozen=True):
    """Positions that a channel's log no longer has: those after one, up to another."""

    after: int
    until: int


class ChannelStatus(Struct, frozen=True, rename="camel"):
    """A channel as an operator sees it."""

    topic: str
    subscribers: int
    members: int


class Hub:
    """The channels of one node.

    `defer` runs a callable once the current tick has ended; `buffer_limit` is how many bytes may wait for a
    subscriber before it is too slow. The hub is the listener of the change feed, and `deliver` of the
    backplane. All topics given to it are canonical.
    """

    def __init__(
        self,
        *,
        epoch: Callable[[], str],
        clock: HybridClock,
        changes: ChangeFeed,
        store: MessageStore,
        backplane: Callable[[Callable[[Accepted], None]], Backplane],
        defer: Callable[[Callable[[], None]], object],
        buffer_limit: int,
    ) -> None:
        self._epoch = epoch
        self._clock = clock
        self._changes = changes
        self._store = store
        self._backplane = backplane(self.deliver)
        self._buffer_limit = buffer_limit
        self._directory = Directory(defer, buffer_limit, clock.last)
        self._subscribers: dict[str, Subscriber] = {}
        self._joined: dict[Subscriber, set[str]] = {}
        self._dedup = Dedup()

    # --- connections -------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        """A connection is there."""
        self._subscribers[subscriber.connection_id] = subscriber
        self._joined[subscriber] = set()

    def leave(self, subscriber: Subscriber) -> None:
        """A connection is gone, with its subscriptions and its presence. Idempotent."""
        self._subscribers.pop(subscriber.connection_id, None)
        for topic in self._joined.pop(subscriber, ()):
            channel = self._directory.find(topic)
            if channel is not None:
                channel.remove(subscriber)
                self._announce(channel, channel.presence.untrack(subscriber.connection_id))
                self._directory.tidy(channel)

    # --- subscriptions -----------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber, command: messages.Subscribe, *, told: bool = False) -> None:
        """Subscribe from now on or, on a custom channel, from `since`; a table has to be watched already.

        Answers `subscribed` unless it was `told`, then what was missed, then who is present. Raises
        BadMessage, InvalidFilter, NotFound.
        """
        table = topics.table_of(command.topic)
        if table is not None:
            self._subscribe_table(subscriber, command, table)
            return
        if command.filter:
            raise BadMessage("A filter needs a table topic: custom channels have no columns.")
        if not self._flushed(subscriber, command.topic):
            return
        channel = self._directory.custom(command.topic)
        channel.add(subscriber, presence=command.presence)
        cursor, recovered, missed = self.cursor_at(channel.log.last), None, b""
        if command.since is not None:
            position = self._position(command.since)
            entries, recovered = channel.log.after(position)
            cursor = command.since if recovered else self.cursor_at(channel.log.start)
            missed = b"".join(each.frame for each in entries if command.presence or not each.presence)
        self._joined[subscriber].add(command.topic)
        subscribed = b"" if told else _frame(messages.Subscribed(command.topic, cursor, recovered, command.id))
        self._hand(subscriber, subscribed + missed + self._present(channel, command))

    def gap(self, command: messages.Subscribe) -> Gap | None:
        """What a custom channel's log no longer has of what a cursor of its asks for; None when it has all,
        or cannot know."""
        if command.since is None or command.filter:
            return None
        position = self._position(command.since)
        start = self._directory.log_start(command.topic)
        return Gap(position, start) if 0 <= position < start else None

    def tell(self, subscriber: Subscriber, command: messages.Subscribe, *, recovered: bool | None) -> None:
        """Answer `subscribed` at the cursor `command.since`, before what follows it is sent in steps."""
        assert command.since is not None, "what follows has a place to follow"
        self.send(subscriber, messages.Subscribed(command.topic, command.since, recovered, command.id))

    def send(self, subscriber: Subscriber, reply: messages.Reply) -> None:
        """Write a reply to one subscriber alone."""
        self._hand(subscriber, _frame(reply))

    def send_stored(self, subscriber: Subscriber, stored: Sequence[StoredMessage]) -> None:
        """Write persisted messages to one subscriber alone, as the events they were."""
        self._hand(
            subscriber,
            b"".join(
                _frame(
                    messages.Event(
                        topic=each.topic,
                        event=each.event,
                        data=each.data,
                        timestamp=each.created_at,
                        id=each.id,
                        cursor=self.cursor_at(each.position),
                        user_id=each.user_id or UNSET,
                    )
                )
                for each in stored
            ),
        )

    def selection(
        self, subscriber: Subscriber, command: messages.Subscribe, table: str
    ) -> tuple[Selection, Sequence[str]]:
        """The rows and columns that a subscription to a watched table shows.

        Raises InvalidFilter, NotFound, Forbidden.
        """
        channel, view = self._view(subscriber, command, table)
        channel.views.discard(view)
        self._directory.tidy(channel)
        shown = self._changes.columns(table) if view.shown is None else view.shown
        return Selection(view.shows, dict(zip(view.columns, view.key, strict=True))), shown

    def resume(
        self,
        subscriber: Subscriber,
        command: messages.Subscribe,
        since: str,
        done: Callable[[str | AerostackError | None], None],
        *,
        told: bool,
    ) -> None:
        """Subscribe to a watched table from the cursor `since`, one part of its log at a time.

        Answers `subscribed` unless it was `told` and holds. `done` gets the cursor to call again with, once
        the peer has taken this part, or None after the last part, when the subscription has gone over into
        live changes without a seam.
        """
        table = topics.table_of(command.topic)
        assert table is not None, "a custom channel resumes in one step"

        def then(part: Replay) -> None:
            if not self._flushed(subscriber, command.topic):
                done(None)
                return
            try:
                self._replay(subscriber, command, table, part, told=told)
            except AerostackError as error:
                done(error)
            else:
                done(part.cursor if part.more else None)

        self._changes.replay(table, since, then, done)

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        """End a subscription; one that is not there is nothing."""
        if not self._flushed(subscriber, topic):
            return
        channel = self._directory.find(topic)
        if channel is not None:
            channel.remove(subscriber)
            if not channel.presence.tracks(subscriber.connection_id):
                self._joined[subscriber].discard(topic)
            self._directory.tidy(channel)

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
        key = (topic, user_id or "", id or "")
        if id is not None:
            known = self._dedup.find(key)
            if known is not None:
                done(Outcome(known.cursor, known.timestamp, duplicate=True))
                return
        channel = self._directory.custom(topic)
        position = self._clock.next()
        accepted = Accepted(
            topic, event, data, user_id, id or f"{position:x}", position // 1000, position, without=without
        )
        if persist:
            self._persist(channel, accepted, done)
            return
        outcome = Outcome(self.cursor_at(position), accepted.timestamp)
        if id is not None:
            self._dedup.remember(key, Receipt(outcome.cursor, outcome.timestamp), position)
        self._send(channel, accepted)
        done(outcome)

    def deliver(self, event: Accepted) -> None:
        """Send an event to the channel's subscribers on this node."""
        channel = self._directory.custom(event.topic)
        frame = self._event(event, self.cursor_at(event.position))
        channel.log.append(event.position, frame, presence=event.presence)
        without = self._subscribers.get(event.without) if event.without is not None else None
        channel.audience.append(frame, presence=event.presence, without=without)

    # --- presence ----------------------------------------------------------------------------------------

    def track(self, subscriber: Subscriber, topic: str, user_id: str, state: dict[str, Any]) -> str:
        """Announce `subscriber` as a connection of the member `user_id`. Returns the channel's cursor."""
        table = topics.table_of(topic)
        if table is not None and not self._changes.watches(table):
            raise NotFound(f"There is no table {table!r} here to be present on.")
        channel = self._directory.custom(topic) if table is None else self._directory.table(topic, table)
        self._joined[subscriber].add(topic)
        now = self._clock.next() // 1000
        self._announce(channel, channel.presence.track(subscriber.connection_id, user_id, encode(state), now))
        return self._head(channel)

    def untrack(self, subscriber: Subscriber, topic: str) -> str:
        """Take `subscriber` out of the members; one that is not tracked is nothing."""
        channel = self._directory.find(topic)
        if channel is None:
            return self.cursor_at(self._clock.last)
        self._announce(channel, channel.presence.untrack(subscriber.connection_id))
        return self._head(channel)

    def members(self, topic: str) -> list[Member]:
        channel = self._directory.find(topic)
        return channel.presence.members() if channel is not None else []

    # --- the change feed's listener ----------------------------------------------------------------------

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            channel = self._directory.of_table(change.table)
            if channel is not None:
                channel.deliver(change)

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        channel = self._directory.of_table(table)
        if channel is None:
            return
        if present:
            message: messages.Reply = messages.Subscribed(topic=channel.topic, cursor=cursor, recovered=False)
        else:
            gone = NotFound(f"The table {table!r} was dropped; this subscription goes on when it is back.")
            message = messages.Error.of(gone, topic=channel.topic)
        frame = _frame(message)
        for audience in channel.audiences():
            audience.append(frame)

    # --- the owner's -------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Forget what has become too old. Call it every few seconds."""
        self._directory.expire(self._clock.next() - MAX_AGE_US)

    def flush(self) -> None:
        """Write every buffer now. It happens by itself at the end of each tick; call it before closing."""
        self._directory.flush()

    def channels(self) -> list[ChannelStatus]:
        """The channels that someone is subscribed to or present on."""
        return [
            ChannelStatus(channel.topic, channel.subscribers, len(channel.presence))
            for channel in self._directory
            if channel.subscribers or len(channel.presence)
        ]

    # --- inside ------------------------------------------------------------------------------------------

    def _subscribe_table(self, subscriber: Subscriber, command: messages.Subscribe, table: str) -> None:
        if not self._flushed(subscriber, command.topic):
            return
        channel, view = self._view(subscriber, command, table)
        channel.add(subscriber, view, presence=command.presence)
        self._joined[subscriber].add(command.topic)
        subscribed = messages.Subscribed(command.topic, self._changes.cursor(table), None, command.id)
        self._hand(subscriber, _frame(subscribed) + self._present(channel, command))

    def _replay(
        self, subscriber: Subscriber, command: messages.Subscribe, table: str, part: Replay, *, told: bool
    ) -> None:
        channel, view = self._view(subscriber, command, table)
        try:
            missed = channel.replayed(part.changes, view)
        except RuleFailed:
            channel.views.discard(view)
            raise
        if not (told and part.recovered):
            assert command.since is not None, "a replay starts from a cursor"
            subscribed = messages.Subscribed(command.topic, command.since, part.recovered, command.id)
            missed = _frame(subscribed) + missed
        if part.more:
            channel.views.discard(view)
            self._hand(subscriber, missed)
            return
        self._joined[subscriber].add(command.topic)
        channel.add(subscriber, view, presence=command.presence)
        self._hand(subscriber, missed + self._present(channel, command))

    def _view(self, subscriber: Subscriber, command: messages.Subscribe, table: str) -> tuple[TableChannel, View]:
        if not self._changes.watches(table):
            raise NotFound(f"There is no table {table!r}.")
        scope = subscriber.scope(table)
        channel = self._directory.table(command.topic, table)
        return channel, channel.views.view(command.filter, self._changes.columns(table), scope)

    def _flushed(self, subscriber: Subscriber, topic: str) -> bool:
        """Write what waits on a topic; whether `subscriber` is still there, which was not too slow for it."""
        channel = self._directory.find(topic)
        if channel is not None:
            for audience in channel.audiences():
                audience.flush()
        return subscriber in self._joined

    def _hand(self, subscriber: Subscriber, data: bytes) -> None:
        """Write to one subscriber alone, under the same bound as fan-out."""
        if subscriber.buffered() > self._buffer_limit:
            subscriber.overflow()
        else:
            hand(subscriber, data)

    def _present(self, channel: CustomChannel | TableChannel, command: messages.Subscribe) -> bytes:
        """One join per member already there, for a subscriber that wants to know."""
        if not command.presence or not len(channel.presence):
            return b""
        cursor, now = self._head(channel), self._clock.last // 1000
        return b"".join(
            _frame(
                messages.Event(
                    topic=channel.topic,
                    event="presence:join",
                    data=each.state,
                    timestamp=now,
                    id=f"{cursor}:{each.user_id}",
                    cursor=cursor,
                    user_id=each.user_id,
                    snapshot=True,
                )
            )
            for each in channel.presence.members()
        )

    def _announce(self, channel: CustomChannel | TableChannel, changes: list[PresenceChange]) -> None:
        for change in changes:
            position = self._clock.next()
            event = Accepted(
                topic=channel.topic,
                event=change.transition,
                data=change.state,
                user_id=change.user_id,
                id=f"{position:x}",
                timestamp=position // 1000,
                position=position,
                presence=True,
            )
            if isinstance(channel, CustomChannel):
                self._send(channel, event)
                continue
            frame = self._event(event, self._changes.cursor(channel.table))
            for audience in channel.audiences():
                audience.append(frame, presence=True)

    def _persist(
        self, channel: CustomChannel, event: Accepted, done: Callable[[Outcome | AerostackError], None]
    ) -> None:
        held: Held

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
                done(Outcome(self.cursor_at(stored.position), stored.created_at, outcome.duplicate))
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
        return _frame(
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

    def _head(self, channel: CustomChannel | TableChannel) -> str:
        if isinstance(channel, CustomChannel):
            return self.cursor_at(channel.log.last)
        return self._changes.cursor(channel.table)

    def cursor_at(self, position: int) -> str:
        """The cursor of a position in a custom channel."""
        return f"{self._epoch()}.{position}"

    def _position(self, cursor: str) -> int:
        """The position a cursor names; -1, before everything, when it is not of this epoch."""
        epoch, _, position = cursor.rpartition(".")
        known = epoch == self._epoch() and position.isdecimal() and len(position) < 20
        return int(position) if known else -1


def _frame(message: messages.Reply) -> bytes:
    return frames.text(encode(message))
