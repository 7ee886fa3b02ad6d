"""Subscriptions: who is on which channel, and how one comes to be on it: from now, or from where it was."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.channels.custom.channel import CustomChannel, StoredReplay
from aerostack_realtime.channels.custom.log import Cursors, Entry
from aerostack_realtime.channels.custom.members import Members
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.fanout.backlog import policy
from aerostack_realtime.channels.fanout.subscriber import REPLY_SHARE, Subscriber, try_write
from aerostack_realtime.channels.joined_topics import JoinedTopics
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.shared_log import SharedLog
from aerostack_realtime.channels.table_subscriptions import TableSubscriptions
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.database.base import ChangeFeed, Selection
from aerostack_realtime.database.message_store import StoredMessage
from aerostack_realtime.protocol import frames, messages, presence, topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.records import ConnectionRecords


class Gap(Struct, frozen=True):
    """Positions that a channel's log no longer has: those after one, up to another."""

    after: int
    until: int


class Subscriptions:
    """The subscriptions to the channels of one node. All topics are canonical."""

    def __init__(
        self,
        directory: Registry,
        cursors: Cursors,
        members: Members,
        delivery: Delivery,
        journal: Journal,
        changes: ChangeFeed,
        buffer_limit: int,
        presence_limit: int,
        records: ConnectionRecords,
        shared: SharedLog,
        reached: Callable[[str], int] | None = None,
    ) -> None:
        self._registry = directory
        self._cursors = cursors
        self._members = members
        self._delivery = delivery
        self._journal = journal
        self._changes = changes
        self._buffer_limit = buffer_limit
        self._presence_limit = presence_limit
        self._records = records
        self._reached = reached
        self._joined = JoinedTopics()
        self._tables = TableSubscriptions(
            registry=directory,
            changes=changes,
            shared=shared,
            joined=self._joined,
            records=records,
            flushed=self._flushed,
            write=self._write_to,
        )
        self._using_chat: set[Subscriber] = set()

    @property
    def largest(self) -> int:
        """How many bytes of rows a frame may have."""
        return self._registry.largest

    @property
    def total(self) -> int:
        """How many subscriptions all connections have together."""
        return self._joined.total

    def of(self, subscriber: Subscriber) -> Collection[str]:
        """The topics that a connection is subscribed to."""
        return self._joined.of(subscriber)

    def join(self, subscriber: Subscriber) -> None:
        """A connection is there."""
        self._joined.join(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """A connection is gone, with its subscriptions. Idempotent."""
        self._using_chat.discard(subscriber)
        for topic in self._joined.leave(subscriber):
            channel = self._registry.find(topic)
            if channel is not None:
                self._records.ended(subscriber.connection_id, topic, self._end(channel), "closed")
                channel.remove(subscriber)
                self._registry.tidy(channel)

    def use_chat(self, subscriber: Subscriber) -> None:
        """A connection has sent the legacy `chat` command: it receives chat messages as frames of type
        `chat_message` from now on."""
        if subscriber in self._using_chat or subscriber not in self._joined:
            return
        self._using_chat.add(subscriber)
        for topic in self._joined.of(subscriber):
            channel = self._registry.find(topic)
            if isinstance(channel, CustomChannel):
                channel.use_chat(subscriber)

    def uses_chat(self, subscriber: Subscriber) -> bool:
        """Whether a connection has sent the legacy `chat` command."""
        return subscriber in self._using_chat

    def subscribe(self, subscriber: Subscriber, command: messages.Subscribe, *, confirmed: bool = False) -> None:
        """Subscribe from now on or, on a custom channel, from `since`; a table has to be watched already.

        Answers `subscribed` unless that is `confirmed` already, then what was missed, then who is present. Raises
        BadMessage, InvalidFilter, NotFound.
        """
        table = topics.table_of(command.topic)
        if table is not None:
            self._tables.subscribe(subscriber, command, table)
            return
        if command.filter:
            raise BadMessage("A filter needs a table topic: custom channels have no columns.")
        asked = policy(command)
        if not self._flushed(subscriber, command.topic):
            return
        channel = self._registry.custom(command.topic)
        assert channel.replay is None, "subscribers that come during a replay wait for its end"
        uses_chat = subscriber in self._using_chat
        channel.add(
            subscriber,
            asked,
            presence=command.presence,
            uses_chat=uses_chat,
            streams=command.streams is not False,
        )
        end = cursor = self._cursors.at(channel.log.last)
        recovered: bool | None = None
        missed: list[Entry] = []
        if command.since is not None:
            channel.log.encode(self._delivery.frame)
            place = self._cursors.place(command.since)
            entries, recovered = channel.log.after(*place)
            cursor = command.since if recovered else self._cursors.at(channel.log.start)
            missed = [each for each in entries if _is_new(each, place[0], command)]
            if not confirmed:
                _count_resume(channel.log.counters, recovered)
        self._joined.add(subscriber, command.topic)
        self._records.subscribed(subscriber.connection_id, command, end, recovered)
        reply = messages.Subscribed(command.topic, cursor, recovered, command.id)
        subscribed = b"" if confirmed else frames.encode(reply)
        if missed or command.streams is not False:
            subscribed += self._delivery.replay(channel, missed, command.streams, cursor)
        self._write_to(subscriber, subscribed + self._present(channel, command))

    def gap(self, command: messages.Subscribe) -> Gap | None:
        """What a custom channel's log no longer has of what a cursor of its asks for; None when it has all,
        or cannot know."""
        if command.since is None or command.filter:
            return None
        position = self._cursors.position(command.since)
        start = self._registry.log_start(command.topic)
        return Gap(position, start) if 0 <= position < start else None

    def is_ahead(self, command: messages.Subscribe) -> bool:
        """Whether a cursor of a custom channel is beyond what this node has delivered: its client comes from a
        node that has read more of the journal."""
        if command.since is None or self._reached is None:
            return False
        return self._cursors.position(command.since) > self._reached(command.topic)

    def cursor_at(self, position: int) -> str:
        """The cursor of a position in a custom channel."""
        return self._cursors.of(position)

    def replay(self, topic: str) -> StoredReplay | None:
        """What a custom channel's subscribers are being sent since the journal began again. Subscribe after it."""
        channel = self._registry.heard.get(topic)
        return None if channel is None else channel.replay

    def confirm(
        self,
        subscriber: Subscriber,
        command: messages.Subscribe,
        *,
        recovered: bool | None,
        history: int | UnsetType = UNSET,
    ) -> None:
        """Answer `subscribed` at the cursor `command.since`, before what follows it is sent in steps; `history` is
        how many stored messages come first."""
        assert command.since is not None, "what follows has a place to follow"
        if recovered is False:
            counters = self._registry.log(command.topic).counters
            counters.resumed_database += 1
            counters.not_recovered += 1
            self._records.note(subscriber.connection_id, "gap", command.topic, cursor=command.since)
        answer = messages.Subscribed(command.topic, command.since, recovered, command.id, history=history)
        self.send(subscriber, answer)

    def send(self, subscriber: Subscriber, reply: messages.Reply) -> None:
        """Write a reply to one subscriber alone."""
        self._write_to(subscriber, frames.encode(reply))

    def resumes(self, command: messages.Subscribe) -> bool:
        """Whether a custom channel's log has everything that followed the cursor of a command."""
        return self.is_known(command) and self.gap(command) is None

    def is_known(self, command: messages.Subscribe) -> bool:
        """Whether a command has a cursor of this journal's past."""
        return command.since is not None and self._cursors.position(command.since) >= 0

    def delivered(self, topic: str) -> int:
        """A position up to which everything in a custom channel has been delivered."""
        return self._registry.log_end(topic)

    def send_stored(
        self, subscriber: Subscriber, command: messages.Subscribe, stored: Sequence[StoredMessage]
    ) -> messages.Subscribe:
        """Write persisted messages to one subscriber alone, as the events they were.

        Returns the command without the streams that the subscriber has whole now."""
        streams = command.streams
        frame = partial(self._delivery.stored_frame, streams=streams is not False)
        if stored:
            self._write_to(subscriber, b"".join(map(frame, stored)))
        if isinstance(streams, dict):
            sent = {each.id for each in stored if each.stream is not None}
            command = replace(command, streams={id: n for id, n in streams.items() if id not in sent})
        return command

    def selection(
        self, subscriber: Subscriber, command: messages.Subscribe, table: str
    ) -> tuple[Selection, Sequence[str]]:
        """The rows and columns that a subscription to a watched table shows.

        Raises InvalidFilter, NotFound, Forbidden.
        """
        return self._tables.selection(subscriber, command, table)

    def resume(
        self,
        subscriber: Subscriber,
        command: messages.Subscribe,
        since: str,
        part: Answer[str | None],
        *,
        confirmed: bool,
    ) -> None:
        """See `TableSubscriptions.resume`."""
        self._tables.resume(subscriber, command, since, part, confirmed=confirmed)

    def resume_at_once(self, subscriber: Subscriber, command: messages.Subscribe) -> bool:
        """See `TableSubscriptions.resume_at_once`."""
        return self._tables.resume_at_once(subscriber, command)

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        """End a subscription; one that is not there is nothing."""
        if not self._flushed(subscriber, topic):
            return
        channel = self._registry.find(topic)
        if channel is not None:
            self._records.ended(subscriber.connection_id, topic, self._end(channel), "unsubscribed")
            channel.remove(subscriber)
            self._joined.discard(subscriber, topic)
            self._registry.tidy(channel)

    def _flushed(self, subscriber: Subscriber, topic: str) -> bool:
        """Write what waits on a topic; whether `subscriber` is still there, which was not too slow for it."""
        if self._registry.has_unwritten and self._registry.find(topic) is not None:
            self._registry.flush()  # of all topics: to look through a table's views would take longer
        return subscriber in self._joined

    def _end(self, channel: CustomChannel | TableChannel) -> str:
        """The cursor of the end of a channel."""
        if isinstance(channel, CustomChannel):
            return self._cursors.at(channel.log.last)
        return self._changes.cursor(channel.table) if self._changes.watches(channel.table) else ""

    def _write_to(self, subscriber: Subscriber, data: bytes) -> None:
        """Write to one subscriber alone, which may be behind live delivery."""
        if subscriber.buffered() > self._buffer_limit * REPLY_SHARE:
            subscriber.overflow()
        else:
            try_write(subscriber, data)

    def _present(self, channel: CustomChannel, command: messages.Subscribe) -> bytes:
        """One join per member already there, for a subscriber that wants to know."""
        if not command.presence or not self._members.count(channel.topic):
            return b""
        cursor = self._cursors.at(channel.log.last)
        return b"".join(
            frames.encode(
                messages.Event(
                    topic=channel.topic,
                    event=presence.JOIN,
                    data=each.state,
                    timestamp=each.since,
                    id=f"{cursor}:{each.connection_id or each.user_id}",
                    cursor=cursor,
                    user_id=each.user_id,
                    snapshot=True,
                    connection_id=each.connection_id,
                )
            )
            for each in self._members.of(channel.topic, self._presence_limit)
        )


def _is_new(entry: Entry, position: int, command: messages.Subscribe) -> bool:
    """Whether a subscriber that has everything up to a position lacks an event after it."""
    stream = entry.stream
    if stream is None or not 0 < stream.ended_before <= position:
        return command.presence or not entry.presence
    return isinstance(command.streams, dict) and stream.id in command.streams


def _count_resume(counters: ChannelCounters, recovered: bool) -> None:
    if recovered:
        counters.resumed_log += 1
    else:
        counters.not_recovered += 1
