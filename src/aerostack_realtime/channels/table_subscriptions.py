"""Subscriptions to tables: from now on, or from a cursor of the table's log."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.fanout.backlog import policy
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.joined_topics import JoinedTopics
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.shared_log import Section, SharedLog
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.channels.tables.views import View, visible
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.database.base import ChangeFeed, Selection
from aerostack_realtime.protocol import frames, messages, topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, NotFound
from aerostack_realtime.records import ConnectionRecords

AT_ONCE_BYTES: Final = 256 * 1024
"""What a client that resumes is sent at once; more is sent in parts, as it takes them."""


class TableSubscriptions:
    """The part of `Subscriptions` that concerns tables, and shares its list of joined topics. `flushed` writes
    what waits on a topic and returns whether the subscriber is still there; `write` writes to one subscriber."""

    def __init__(
        self,
        *,
        registry: Registry,
        changes: ChangeFeed,
        shared: SharedLog,
        joined: JoinedTopics,
        records: ConnectionRecords,
        flushed: Callable[[Subscriber, str], bool],
        write: Callable[[Subscriber, bytes], None],
    ) -> None:
        self._registry = registry
        self._changes = changes
        self._shared = shared
        self._joined = joined
        self._records = records
        self._flushed = flushed
        self._write = write

    def subscribe(self, subscriber: Subscriber, command: messages.Subscribe, table: str) -> None:
        """Subscribe to a watched table from now on. Raises BadMessage, InvalidFilter, NotFound."""
        if not self._flushed(subscriber, command.topic):
            return
        channel, view = self._view(subscriber, command, table)
        channel.add(subscriber, view, policy(command), presence=command.presence)
        self._joined.add(subscriber, command.topic)
        cursor = self._changes.cursor(table)
        self._records.subscribed(subscriber.connection_id, command, cursor, None)
        subscribed = messages.Subscribed(
            command.topic, cursor, None, command.id, column_types=_column_types(channel, view)
        )
        self._write(subscriber, frames.encode(subscribed))

    def selection(
        self, subscriber: Subscriber, command: messages.Subscribe, table: str
    ) -> tuple[Selection, Sequence[str]]:
        """The rows and columns that a subscription to a watched table shows.

        Raises InvalidFilter, NotFound, Forbidden.
        """
        channel, view = self._view(subscriber, command, table)
        channel.views.discard(view)
        self._registry.tidy(channel)
        shown = self._changes.columns(table) if view.shown is None else view.shown
        return Selection(view.shows, view.equal), shown

    def resume(
        self,
        subscriber: Subscriber,
        command: messages.Subscribe,
        since: str,
        part: Answer[str | None],
        *,
        confirmed: bool,
    ) -> None:
        """Subscribe to a watched table from the cursor `since`, one part of its log at a time.

        Answers `subscribed` unless that was `confirmed` and is still true. `part` gets the cursor to call again
        with, once the peer has taken this part, or None after the last part, when the subscription has passed
        into live changes without a seam. Nothing happens if nobody awaits `part` any more.
        """
        table = topics.table_of(command.topic)
        assert table is not None, "a custom channel resumes in one step"

        def then(section: Section) -> None:
            if not part.awaited:
                return
            if not self._flushed(subscriber, command.topic):
                part.done(None)
                return
            is_end, cursor = section.part.is_end, section.part.cursor
            try:
                self._replay(subscriber, command, table, section, confirmed=confirmed)
            except AerostackError as error:
                part.done(error)
            else:
                part.done(None if is_end else cursor)

        self._shared.read(table, since, then, part.done)

    def resume_at_once(self, subscriber: Subscriber, command: messages.Subscribe) -> bool:
        """Subscribe to a table from the cursor of a command without reading anything, if all that follows it was
        read for others and is little. Returns whether that was possible. Raises as `subscribe`."""
        table, since = topics.table_of(command.topic), command.since
        if table is None or since is None or command.topic in self._joined.of(subscriber):
            return False
        sections = self._shared.to_the_end(table, since) if self._changes.watches(table) else None
        if sections is None:
            return False
        if not self._flushed(subscriber, command.topic):
            return True
        channel, view = self._view(subscriber, command, table)
        try:
            missed = b"".join([self._shared.frames(each, channel, view) for each in sections])
        except RuleFailed:
            missed = None
        if missed is None or len(missed) > AT_ONCE_BYTES:
            channel.views.discard(view)
            self._registry.tidy(channel)
            return False
        recovered, cursor = sections[0].recovered, sections[-1].part.cursor
        self._join(subscriber, command, channel, view, cursor, recovered=recovered)
        self._write(subscriber, _subscribed(command, channel, view, recovered=recovered) + missed)
        return True

    def _replay(
        self,
        subscriber: Subscriber,
        command: messages.Subscribe,
        table: str,
        section: Section,
        *,
        confirmed: bool,
    ) -> None:
        channel, view = self._view(subscriber, command, table)
        is_end, cursor, recovered = section.part.is_end, section.part.cursor, section.recovered
        try:
            missed = self._shared.frames(section, channel, view)
        except RuleFailed:
            channel.views.discard(view)
            raise
        if not (confirmed and recovered):
            missed = _subscribed(command, channel, view, recovered=recovered) + missed
        if is_end:
            self._join(subscriber, command, channel, view, cursor, recovered=recovered)
        else:
            channel.views.discard(view)
        self._write(subscriber, missed)

    def _join(
        self,
        subscriber: Subscriber,
        command: messages.Subscribe,
        channel: TableChannel,
        view: View,
        cursor: str,
        *,
        recovered: bool,
    ) -> None:
        """A subscriber has what was logged up to a cursor: from here on it receives live changes."""
        self._joined.add(subscriber, command.topic)
        self._records.subscribed(subscriber.connection_id, command, cursor, recovered)
        channel.add(subscriber, view, policy(command), presence=command.presence)

    def _view(self, subscriber: Subscriber, command: messages.Subscribe, table: str) -> tuple[TableChannel, View]:
        if not self._changes.watches(table):
            raise NotFound(f"There is no table {table!r}.")
        scope = subscriber.scope(table)
        columns = self._changes.columns(table)
        asked = policy(command)
        if asked is not None and (missing := set(asked.key).difference(visible(columns, scope))):
            raise BadMessage(f"The table has no column {min(missing)[:80]!r} that could be its key.")
        channel = self._registry.table(command.topic, table)
        channel.column_types = self._changes.column_types(table)
        return channel, channel.views.view(command.filter, columns, scope, channel.column_types)


def _subscribed(command: messages.Subscribe, channel: TableChannel, view: View, *, recovered: bool) -> bytes:
    """The answer to a command that resumes, which is counted."""
    assert command.since is not None, "a replay starts from a cursor"
    _count_resume(channel.counters, recovered=recovered)
    reply = messages.Subscribed(
        command.topic, command.since, recovered, command.id, column_types=_column_types(channel, view)
    )
    return frames.encode(reply)


def _count_resume(counters: ChannelCounters, *, recovered: bool) -> None:
    if recovered:
        counters.resumed_database += 1
    else:
        counters.not_recovered += 1


def _column_types(channel: TableChannel, view: View) -> dict[str, str] | UnsetType:
    return view.column_types(channel.column_types) or UNSET
