"""Streams on this node: what each item does to them, their delivery and storage, and writers that are gone."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import UNSET

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Append, CancelStream, Publish, Settlement
from aerostack_realtime.channels.custom.holds import HoldQueues, PendingEvent
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.custom.nodes import Nodes
from aerostack_realtime.channels.custom.streams import Appended, Key, Repeated, Result, Stream, Streams
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.outcome import Done, Outcome
from aerostack_realtime.channels.stream_limits import StreamLimits
from aerostack_realtime.channels.stream_openings import StreamOpenings
from aerostack_realtime.channels.stream_recovery import StreamRecovery
from aerostack_realtime.channels.stream_rows import StreamRows
from aerostack_realtime.channels.stream_storage import StreamStorage
from aerostack_realtime.channels.stream_writers import StreamWriters
from aerostack_realtime.database.message_store import OutcomeUnknown, Stored, StoredMessage
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import (
    AerostackError,
    Conflict,
    NotFound,
    OutOfStep,
    Overloaded,
    Unavailable,
)

LACKING_COUNT: Final = 1_000
"""Streams for which a gap was reported, so that it is reported once."""
_NOT_STORED: Final = "The end of the stream could not be stored; send it again."


class Streaming:
    """The streams of all nodes. `connections` are this node's by their ids; `report` puts a settlement into the
    journal, `release` delivers what does not wait in a channel any more, and `lose_track` has a commit without an
    answer settled by what is stored. `alone`: there are no other nodes."""

    def __init__(
        self,
        *,
        journal: Journal,
        delivery: Delivery,
        cursors: Cursors,
        store: LicensedStore,
        holds: HoldQueues,
        nodes: Nodes,
        report: Callable[[Settlement], None],
        release: Callable[[str], None],
        lose_track: Callable[[int], None],
        connections: Mapping[str, Subscriber],
        limits: StreamLimits,
        alone: bool,
    ) -> None:
        self.streams = Streams(limits.bytes)
        self.writers = StreamWriters(connections, limits.seconds, limits.per_connection)
        self._journal = journal
        self._delivery = delivery
        self._cursors = cursors
        self._storage = StreamStorage(store)
        self._holds = holds
        self._report = report
        self._lose_track = lose_track
        self._rows = StreamRows(journal, self.streams, self._storage)
        self.recovery = StreamRecovery(
            journal=journal,
            nodes=nodes,
            streams=self.streams,
            writers=self.writers,
            rows=self._rows,
            delivery=delivery,
            holds=holds,
            release=release,
            alone=alone,
        )
        delivery.stored_end = self.recovery.stored_end
        self.recovery.end_late = self._end_late
        self._lacking: dict[Key, None] = {}
        """Streams that other nodes know and this one does not."""
        self._ending: dict[Key, list[Done]] = {}
        """Ends that wait for their commit, with the repeats that wait for them."""
        self._unattended: set[Key] = set()
        """Those of them whose writers are gone."""
        self._openings = StreamOpenings(holds)

    # --- writers of this node ----------------------------------------------------------------------------

    def sweep(self) -> None:
        """Store how far streams are, and end those whose writers are gone for too long. Call it once a second."""
        self._storage.flush()
        with suppress(AerostackError):  # the next sweep continues
            for key in self.writers.overdue():
                stream = self.streams.find(*key)
                if stream is None:
                    self.writers.forget(key)
                else:
                    self._journal.append(Append(*key, stream.n, b"", "failed", by_server=True))
            self.recovery.sweep()

    def flush(self) -> None:
        """Store how far streams are."""
        self._storage.flush()

    # --- items -------------------------------------------------------------------------------------------

    def opened(self, position: int, at: int, node: str, item: Publish, done: Done | None) -> None:
        """A writer opens a stream, or continues its own."""
        result = self.streams.open(position, at // 1000, node, item)
        assert item.id is not None, "a stream has an id"
        key = item.topic, item.id
        self._moved(key)
        if not isinstance(result, Appended):
            if isinstance(result, NotFound):
                result = Unavailable("The stream cannot be continued now; open it again.")
            if node == self._journal.node and not item.continues:
                self._repeated(position, key, item)
            self._answer(position, at, key, result, done)
            return
        stream = result.stream
        self.writers.wrote(key, done)
        if item.persist:
            self._holds.hold(PendingEvent(item.topic, position, node, 0, False, item, stream=stream))
            if node == self._journal.node:
                self._store_opening(position, stream, done)
            return
        if item.topic in self._holds.queues:
            self._holds.hold(PendingEvent(item.topic, position, node, stream.timestamp, True, item, stream=stream))
        else:
            self._delivery.open_stream(stream, position)
        if done is not None:
            done(self._outcome(position, at, stream.n, "open"))

    def appended(self, position: int, at: int, node: str, item: Append, done: Done | None) -> None:
        """A writer appends a piece, ends its stream, or both; or this is the end of a writer that is gone."""
        result = self.streams.append(position, node, item)
        self._moved((item.topic, item.id))
        if isinstance(result, NotFound | OutOfStep):
            self._lacks(position, node, item, result)
        if isinstance(result, Appended) and not result.ended:
            self.writers.wrote((item.topic, item.id), done)
            if result.stream.persist and node == self._journal.node:
                self._storage.grown(result.stream)
            if result.stream.visible:
                self._delivery.grow_stream(result.stream, self._holds.reached(item.topic, position))
            if done is not None:
                done(self._outcome(position, at, result.stream.n, "open"))
            return
        self._finished(position, at, node, (item.topic, item.id), result, done)

    def cancelled(self, position: int, at: int, node: str, item: CancelStream, done: Done | None) -> None:
        """A user cancels a stream."""
        key = item.topic, item.id
        result = self.streams.cancel(position, item)
        if isinstance(result, NotFound):
            self.recovery.keep(position, node, item)
        connection = self.writers.connection(key)
        if isinstance(result, Appended) and connection is not None:
            user_id = UNSET if item.user_id is None else item.user_id
            cancel = messages.StreamCancelled(item.topic, item.id, user_id, item.reason or UNSET)
            try_write(connection, frames.encode(cancel))
        self._finished(position, at, node, key, result, done)

    def settled(self, event: PendingEvent, settlement: Settlement) -> None:
        """The opening or the end of a persisted stream was stored, or could not be."""
        stream = event.stream
        assert stream is not None, "it is the event of a stream"
        key = stream.topic, stream.id
        stored = settlement.outcome == "stored"
        if stored:
            stream.timestamp = settlement.created_at
        elif event.ends:
            self.streams.reopen(stream)
            if event.node == self._journal.node:
                self.writers.wait_for(key, is_gone=key in self._unattended)
            self._rows.check(stream)
        else:
            self.streams.remove(stream)
            self.writers.forget(key)
            self._withdraw_end(stream)
        if event.ends:
            self._unattended.discard(key)
        else:
            at, known = stream.timestamp * 1000, Repeated(stream.n, stream.state)
            again = partial(self._answer, event.position, at, key, known) if stored else None
            self._openings.settled(event.position, again)
        for done in self._ending.pop(key, ()) if event.ends else ():
            ended = self._outcome(event.position, 0, stream.n, stream.state, stream.timestamp)
            done(ended if stored else Unavailable(_NOT_STORED))

    def released(self, event: PendingEvent) -> None:
        """Nothing is before this event any more that waits for a commit."""
        assert event.stream is not None, "it is the event of a stream"
        if event.ends:
            self._delivery.end_stream(event.stream, event.position)
        else:
            self._delivery.open_stream(event.stream, event.position)

    def store_again(self, event: PendingEvent) -> None:
        """Repeat the commit of an opening or an end that has no answer, so that it gets one."""
        assert event.stream is not None, "it is the event of a stream"
        if event.ends:
            self._store_end(event.position, event.stream, None, is_repeated=True)
        else:
            self._store_opening(event.position, event.stream, None, is_repeated=True)

    # --- inside ------------------------------------------------------------------------------------------

    def _finished(self, position: int, at: int, node: str, key: Key, result: Result, done: Done | None) -> None:
        """An item may have ended a stream."""
        if not isinstance(result, Appended):
            self._answer(position, at, key, result, done)
            return
        self.writers.forget(key)
        stream = result.stream
        if stream.persist:
            self._hold_end(position, node, stream)
            if node == self._journal.node:
                if done is None:
                    self._unattended.add(key)
                self.recovery.store(position, lambda: self._store_end(position, stream, done))
            return
        if stream.topic in self._holds.queues or self.recovery.holds_ends:
            event = PendingEvent(stream.topic, position, node, stream.timestamp, True, stream=stream, ends=True)
            self._holds.hold(event)
            self.recovery.hold(event)
        else:
            self._delivery.end_stream(stream, position)
        if done is not None:
            done(self._outcome(position, at, stream.n, stream.state))

    def _hold_end(self, position: int, node: str, stream: Stream) -> None:
        event = PendingEvent(stream.topic, position, node, 0, False, stream=stream, ends=True)
        self._holds.hold(event)
        self.recovery.hold(event)
        self._ending[stream.topic, stream.id] = []

    def _end_late(self, position: int, at: int, stream: Stream) -> None:
        """An end that this node appended at a position is applied later; other nodes wait for it there."""
        self.writers.forget((stream.topic, stream.id))
        self._hold_end(position, self._journal.node, stream)
        self.recovery.store(position, lambda: self._store_end(position, stream, None, also=at))

    def _repeated(self, position: int, key: Key, item: Publish) -> None:
        """An opening of this node turned out not to be one; for a node that knows less it may have been."""
        stream = self.streams.find(*key)
        if stream is not None:
            self.recovery.share(stream)
        if item.persist and stream is not None and stream.visible:
            self._report(Settlement(position, "stored", stream.timestamp))
        elif item.persist:
            self._report(Settlement(position, "refused"))

    def _withdraw_end(self, stream: Stream) -> None:
        """The opening of a stream was not stored, so its end is not."""
        for event in self._holds.unsettled(lambda _: True):
            if event.stream is stream and event.ends:
                self._holds.settle(Settlement(event.position, "refused"))
                self._unattended.discard((stream.topic, stream.id))
                for done in self._ending.pop((stream.topic, stream.id), ()):
                    done(Unavailable(_NOT_STORED))

    def _store_opening(
        self, position: int, stream: Stream, done: Done | None, *, is_repeated: bool = False
    ) -> None:
        """Store a stream that an item of this node opened; its Settle follows the commit. `is_repeated`: an
        earlier attempt has no answer."""

        def stored(result: Stored | AerostackError) -> None:
            outcome: Outcome | AerostackError
            if isinstance(result, AerostackError):
                self._not_stored(position, result, is_repeated=is_repeated)
                outcome = result
            elif is_repeated and result.message.position == position:
                self._report(Settlement(position, "stored", result.message.created_at))
                return
            elif result.duplicate and self._adopts(position, stream, result.message, done):
                return
            elif result.duplicate:
                self._report(Settlement(position, "duplicate", result.message.created_at, result.message.position))
                outcome = self._stored_before(result.message)
            else:
                stream.timestamp = result.message.created_at
                self._report(Settlement(position, "stored", stream.timestamp))
                if done is not None:
                    done(self._outcome(position, 0, stream.n, "open", stream.timestamp))
                return
            if done is not None:
                self._openings.answer_later(position, done, lambda: outcome)

        self._storage.open(stream, stored)

    def _adopts(self, position: int, stream: Stream, stored: StoredMessage, done: Done | None) -> bool:
        """Whether an opening continues a stored stream that this node does not know."""
        if stored.stream is None or stored.stream.state != "open" or stored.event != stream.event:
            return False
        try:
            self._rows.announce(stored)
        except AerostackError:
            return False
        self._report(Settlement(position, "stored", stored.created_at))
        if done is not None:
            self._openings.answer_later(
                position, done, lambda: self._outcome(position, 0, stream.n, "open", stored.created_at)
            )
        return True

    def _not_stored(self, position: int, failure: AerostackError, *, is_repeated: bool) -> None:
        """A commit failed, or has no answer."""
        if isinstance(failure, OutcomeUnknown) or (is_repeated and isinstance(failure, Unavailable | Overloaded)):
            self._lose_track(position)
        else:
            self._report(Settlement(position, "refused"))

    def _store_end(
        self, position: int, stream: Stream, done: Done | None, *, also: int = 0, is_repeated: bool = False
    ) -> None:
        """Store the end of a stream by an item of this node; its Settle, and that of the position `also`, follows
        the commit. `is_repeated`: an earlier attempt has no answer."""
        if not self._holds.is_unsettled(position):
            if done is not None:
                done(Unavailable(_NOT_STORED))
            return

        def stored(failure: AerostackError | None) -> None:
            for each in (position, also) if also else (position,):
                if failure is not None:
                    self._not_stored(each, failure, is_repeated=is_repeated)
                else:
                    self._report(Settlement(each, "stored", stream.timestamp))
            if done is not None:
                done(failure or self._outcome(position, 0, stream.n, stream.state, stream.timestamp))

        self._storage.end(stream, position, stored)

    def _stored_before(self, message: StoredMessage) -> Outcome | AerostackError:
        """The answer to an opening whose id was found in the history."""
        if message.stream is None or message.stream.state == "open":
            return Conflict(f"The id {message.id!r} is that of a stored message; choose another id.")
        cursor = self._cursors.at(message.position)
        return Outcome(cursor, message.created_at, True, message.stream.n, message.stream.state)

    def _answer(
        self, position: int, at: int, key: Key, result: Repeated | AerostackError, done: Done | None
    ) -> None:
        """Answer an item that changed nothing; the repeat of an opening or an end is answered after its commit."""
        if done is None:
            return
        if isinstance(result, AerostackError):
            done(result)
            return
        if result.state == "open":
            self.writers.wrote(key, done)
            stream = self.streams.find(*key)
            if stream is not None and self._openings.wait(stream.opened, done):
                return
        elif key in self._ending:
            self._ending[key].append(done)
            return
        done(self._outcome(position, at, result.n, result.state, duplicate=True))

    def _outcome(
        self,
        position: int,
        at: int,
        n: int,
        state: messages.StreamState,
        timestamp: int = 0,
        *,
        duplicate: bool = False,
    ) -> Outcome:
        return Outcome(self._cursors.at(position), timestamp or at // 1000, duplicate, n, state)

    def _moved(self, key: Key) -> None:
        """The writer of a stream may be on another node now."""
        stream = self.streams.find(*key)
        if stream is not None and stream.node != self._journal.node:
            self.writers.forget(key)

    def _lacks(self, position: int, node: str, item: Append, failure: NotFound | OutOfStep) -> None:
        """An item does not fit: this node knows less than others, or its sender is wrong."""
        self.recovery.keep(position, node, item)
        key = item.topic, item.id
        if key in self.writers:
            self.writers.wait_for(key)  # its writer is there, on whichever node
        unknown = isinstance(failure, NotFound) and (item.n or item.state) and node != self._journal.node
        if not unknown or self.recovery.is_unsure or key in self._lacking:
            return
        self._lacking[key] = None
        if len(self._lacking) > LACKING_COUNT:
            del self._lacking[next(iter(self._lacking))]
        self._delivery.lack_stream(item.topic, position)
