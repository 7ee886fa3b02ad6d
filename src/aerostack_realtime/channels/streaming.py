"""Streams on this node: what each item does to them, their delivery and storage, and writers that are gone."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import UNSET, Struct

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Append, CancelStream, Publish, Settlement
from aerostack_realtime.channels.custom.holds import HoldQueues, PendingEvent
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.custom.streams import Appended, Key, Repeated, Result, Stream, Streams
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.outcome import Done, Outcome
from aerostack_realtime.channels.stream_storage import StreamStorage
from aerostack_realtime.database.message_store import Stored, StoredMessage
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import AerostackError, Conflict, RateLimited, Unavailable

_NOT_STORED: Final = "The end of the stream could not be stored; send it again."


class StreamLimits(Struct, frozen=True):
    """The bytes of one stream's content in JSON, the open streams of one connection, and the seconds after which
    the stream of a writer that is gone ends."""

    bytes: int = 1024 * 1024
    per_connection: int = 100
    seconds: int = 60


DEFAULT_LIMITS: Final = StreamLimits()


class _Writer(Struct):
    """The writer of a stream on this node: its connection, None for HTTP calls and for one that is gone.

    Without a connection the stream ends after so many `seconds`."""

    connection: str | None
    seconds: int


class FromWriter(Struct, frozen=True):
    """The `done` of a writer's command; it came by `connection`, None for HTTP calls."""

    connection: str | None
    done: Done

    def __call__(self, outcome: Outcome | AerostackError) -> None:
        self.done(outcome)


class Streaming:
    """The streams of all nodes. `connections` are this node's by their ids; `report` puts a settlement into the
    journal."""

    def __init__(
        self,
        *,
        journal: Journal,
        delivery: Delivery,
        cursors: Cursors,
        store: LicensedStore,
        holds: HoldQueues,
        report: Callable[[Settlement], None],
        connections: Mapping[str, Subscriber],
        limits: StreamLimits,
    ) -> None:
        self.streams = Streams(limits.bytes)
        self._journal = journal
        self._delivery = delivery
        self._cursors = cursors
        self._storage = StreamStorage(store)
        self._holds = holds
        self._report = report
        self._connections = connections
        self._limits = limits
        self._writers: dict[Key, _Writer] = {}
        self._by_connection: dict[str, set[Key]] = {}
        self._ending: dict[Key, list[Done]] = {}
        """Ends that wait for their commit, with the repeats that wait for them."""
        self._refused: dict[int, Callable[[], None]] = {}
        """The answers to openings that were not stored, by position: they follow the Settle."""

    # --- writers of this node ----------------------------------------------------------------------------

    def check(self, key: Key, connection: str) -> None:
        """Whether a connection may open one more stream. Raises RateLimited."""
        of_it = self._by_connection.get(connection, ())
        if len(of_it) >= self._limits.per_connection and key not in of_it:
            raise RateLimited(
                f"A connection has at most {self._limits.per_connection} open streams; finish some first."
            )

    def gone(self, connection: str) -> None:
        """A connection has ended: its streams end as failed unless their writers return in time."""
        for key in self._by_connection.pop(connection, ()):
            self._writers[key] = _Writer(None, self._limits.seconds)

    def away(self, key: Key, connection: str) -> None:
        """The writer of a stream may not continue it: as if its connection had ended."""
        writer = self._writers.get(key)
        if writer is not None and writer.connection == connection:
            self._forget(key)
            self._writers[key] = _Writer(None, self._limits.seconds)

    def sweep(self) -> None:
        """Store how far streams are, and end those whose writers are gone for too long. Call it once a second."""
        self._storage.flush()
        for key, writer in list(self._writers.items()):
            if writer.connection is not None:
                continue
            writer.seconds -= 1
            if writer.seconds <= 0:
                stream = self.streams.find(*key)
                if stream is None:
                    del self._writers[key]
                else:
                    with suppress(AerostackError):  # the next sweep appends it again
                        self._journal.append(Append(*key, stream.n, b"", "failed", by_server=True))

    async def restore(self) -> None:
        """Take over the stored streams that have not ended. Raises Unavailable."""
        for message in await self._storage.unfinished():
            assert message.stream is not None, "a stream is stored with its progress"
            item = Publish(
                message.topic,
                message.event,
                bytes(message.data),
                message.user_id or None,
                message.id,
                persist=True,
                stream=True,
                by_key=not message.user_id,
            )
            node, n = self._journal.node, message.stream.n
            stream = Stream(message.position, message.created_at, node, item, n)
            stream.owner = message.user_id, None if message.user_id else True
            self.streams.restore(stream)
            self._delivery.open_stream(stream, message.position)
            self._writers[stream.topic, stream.id] = _Writer(None, self._limits.seconds)

    # --- items -------------------------------------------------------------------------------------------

    def opened(self, position: int, at: int, node: str, item: Publish, done: Done | None) -> None:
        """A writer opens a stream, or continues its own."""
        result = self.streams.open(position, at // 1000, node, item)
        assert item.id is not None, "a stream has an id"
        key = item.topic, item.id
        self._moved(key, node)
        if not isinstance(result, Appended):
            self._answer(position, at, key, result, done)
            return
        stream = result.stream
        self._written(key, done)
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
        self._moved((item.topic, item.id), node)
        if isinstance(result, Appended) and not result.ended:
            self._written((item.topic, item.id), done)
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
        writer = self._writers.get(key)
        if isinstance(result, Appended) and writer is not None and writer.connection is not None:
            connection = self._connections.get(writer.connection)
            if connection is not None:
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
                self._writers[key] = _Writer(None, self._limits.seconds)
        else:
            self.streams.remove(stream)
            self._forget(key)
            refuse = self._refused.pop(event.position, None)
            if refuse is not None:
                refuse()
        for done in self._ending.pop(key, ()) if event.ends else ():
            if stored:
                done(self._outcome(event.position, 0, stream.n, stream.state, stream.timestamp))
            else:
                done(Unavailable(_NOT_STORED))

    def released(self, event: PendingEvent) -> None:
        """Nothing is before this event any more that waits for a commit."""
        assert event.stream is not None, "it is the event of a stream"
        if event.ends:
            self._delivery.end_stream(event.stream, event.position)
        else:
            self._delivery.open_stream(event.stream, event.position)

    # --- inside ------------------------------------------------------------------------------------------

    def _finished(self, position: int, at: int, node: str, key: Key, result: Result, done: Done | None) -> None:
        """An item may have ended a stream."""
        if not isinstance(result, Appended):
            self._answer(position, at, key, result, done)
            return
        self._forget(key)
        stream = result.stream
        if stream.persist:
            self._holds.hold(PendingEvent(stream.topic, position, node, 0, False, stream=stream, ends=True))
            self._ending[key] = []
            if node == self._journal.node:
                self._store_end(position, stream, done)
            return
        if stream.topic in self._holds.queues:
            self._holds.hold(
                PendingEvent(stream.topic, position, node, stream.timestamp, True, stream=stream, ends=True)
            )
        else:
            self._delivery.end_stream(stream, position)
        if done is not None:
            done(self._outcome(position, at, stream.n, stream.state))

    def _store_opening(self, position: int, stream: Stream, done: Done | None) -> None:
        """Store a stream that an item of this node opened; its Settle follows the commit."""

        def stored(result: Stored | AerostackError) -> None:
            outcome: Outcome | AerostackError
            if isinstance(result, AerostackError):
                self._report(Settlement(position, "refused"))
                outcome = result
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
                self._refused[position] = partial(done, outcome)

        self._storage.open(stream, stored)

    def _store_end(self, position: int, stream: Stream, done: Done | None) -> None:
        """Store the end of a stream by an item of this node; its Settle follows the commit."""

        def stored(failure: AerostackError | None) -> None:
            if failure is not None:
                self._report(Settlement(position, "refused"))
            else:
                self._report(Settlement(position, "stored", stream.timestamp))
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
        """Answer an item that changed nothing; the repeat of an end is answered after its commit."""
        if done is None:
            return
        if isinstance(result, AerostackError):
            done(result)
            return
        if result.state == "open":
            self._written(key, done)
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

    def _written(self, key: Key, done: Done | None) -> None:
        """A writer continues its stream, on this node if `done` says from where."""
        if not isinstance(done, FromWriter):
            return
        connection = done.connection if done.connection in self._connections else None
        known = self._writers.get(key)
        if known is None or known.connection != connection:
            self._forget(key)
            self._writers[key] = _Writer(connection, self._limits.seconds)
            if connection is not None:
                self._by_connection.setdefault(connection, set()).add(key)
        else:
            known.seconds = self._limits.seconds

    def _moved(self, key: Key, node: str) -> None:
        """The writer of a stream is on `node`."""
        if node != self._journal.node:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """This node has no writer of a stream any more."""
        writer = self._writers.pop(key, None)
        if writer is not None and writer.connection is not None:
            of_it = self._by_connection.get(writer.connection, set())
            of_it.discard(key)
            if not of_it:
                self._by_connection.pop(writer.connection, None)
