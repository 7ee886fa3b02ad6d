"""Streams that this node does not know, or knows in part: it started late, or the journal lost items.

Pieces are numbered by their writer, so what nodes know of a stream is merged by taking the most pieces. Every node
announces the streams whose writers it waits for (StreamState) to nodes that join, and all that the journal may
have lost when it began again, each time before its Roster. Until the Rosters of all other nodes have entered, this
node is unsure: it keeps the items that it cannot apply, and holds the ends of streams. A node of a version without
announcements sends its Roster alone, so nobody waits for it; what only such a node knows stays unknown.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Append, CancelStream, Settlement, StreamState
from aerostack_realtime.channels.custom.holds import HoldQueues, PendingEvent
from aerostack_realtime.channels.custom.nodes import Nodes
from aerostack_realtime.channels.custom.streams import Appended, Key, Stream, Streams, stream_of
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.kept_items import KeptItems
from aerostack_realtime.channels.stream_announcements import announcements
from aerostack_realtime.channels.stream_rows import StreamRows, stored_state
from aerostack_realtime.channels.stream_writers import StreamWriters
from aerostack_realtime.database.message_store import StoredMessage
from aerostack_realtime.protocol.errors import AerostackError

NOTHING_LOST: Final = 2**63 - 1
LOST_COUNT: Final = 64
"""Lost parts of the journal that are remembered, the newest."""
COMMIT_US: Final = 60_000_000
"""How long the opening of a persisted stream may wait for its commit. An older one without a Settle continues a
stream from before the journal that this node reads."""


class StreamRecovery:
    """`release` delivers what does not wait in a channel any more. A node that is `alone` knows all streams."""

    def __init__(
        self,
        *,
        journal: Journal,
        nodes: Nodes,
        streams: Streams,
        writers: StreamWriters,
        rows: StreamRows,
        delivery: Delivery,
        holds: HoldQueues,
        release: Callable[[str], None],
        alone: bool,
    ) -> None:
        self._journal = journal
        self._nodes = nodes
        self._streams = streams
        self._writers = writers
        self._rows = rows
        self._delivery = delivery
        self._holds = holds
        self._release = release
        self._alone = alone
        self._has_joined = alone
        self._elders: set[str] = set()
        """The nodes that were there before this one."""
        self._awaited: set[str] = set()
        self._lost_after = NOTHING_LOST
        self._lost = deque[tuple[int, int]](maxlen=LOST_COUNT)
        """The journal has lost what followed the first and is not after the second position of each; the first one
        is what it had forgotten before this node started."""
        self._kept = KeptItems()
        self._held: dict[Key, PendingEvent] = {}
        self._stores: list[tuple[int, Callable[[], None]]] = []
        self._doubtful: dict[Key, None] = {}
        """Streams that may have ended in the items that this node skipped."""
        self._restored = False
        self.end_late: Callable[[int, int, Stream], None] = lambda *_: None
        """Called with the position at which an end of this node is applied now, and the one at which it could not
        be: it has to be stored, and the other nodes wait for that."""

    # --- who knows what ----------------------------------------------------------------------------------

    @property
    def is_unsure(self) -> bool:
        """Whether other nodes may know more than this one."""
        return not self._has_joined or bool(self._awaited)

    @property
    def holds_ends(self) -> bool:
        """Whether streams may lack pieces on this node, because the journal has lost items."""
        return self.is_unsure and self._lost_after != NOTHING_LOST

    @property
    def is_first(self) -> bool:
        """Whether this node does what exactly one has to do for streams: of those present it has been there
        longest."""
        present = {each.node for each in self._nodes.present()}
        return self._alone or (self._journal.node in present and not self._elders & present)

    def starts(self, until: int) -> None:
        """The journal begins after a position for this node."""
        self._lost.append((0, until))

    def joined(self, others: Collection[str]) -> None:
        """This node's Hello has entered, while the nodes `others` were present. They announce their streams."""
        self._elders = set(others)
        if not self._has_joined:
            self._has_joined = True
            self._awaited = set(others)
            if not others:
                self._become_sure()

    def began(self, since: int, until: int, others: Collection[str]) -> None:
        """See `JournalListener.began`; the nodes `others` announce what may be lost."""
        self._lost_after = min(self._lost_after, until)
        self._lost.append((until, self._journal.last))
        self._awaited = set(others)
        self._kept.drop_after(until)
        self._held = {key: event for key, event in self._held.items() if event.position <= until}
        self._stores = [each for each in self._stores if each[0] <= until]
        for stream in self._streams:
            if since < until:
                self._doubtful[_key(stream)] = None
            if stream.persist and stream.node == self._journal.node:
                self._rows.check(stream)
        if not others and self._has_joined:
            self._become_sure()

    def heard(self, node: str) -> bool:
        """A node has announced all that it knows, or is gone; whether this node is sure now."""
        if node not in self._awaited:
            return False
        self._awaited.discard(node)
        if self._awaited:
            return False
        self._become_sure()
        return True

    def gone(self, node: str) -> bool:
        """As `heard`; a node has left or died."""
        self._elders.discard(node)
        return self.heard(node)

    # --- what this node says -----------------------------------------------------------------------------

    def announce(self) -> bool:
        """Append what this node has to announce; False when the journal refused it: then call this again."""
        known = announcements(
            self._streams,
            self._holds,
            node=self._journal.node,
            present={each.node for each in self._nodes.present()},
            is_first=self.is_first,
            lost_after=self._lost_after,
            as_of=self._journal.last,
        )
        try:
            for each in known:
                self._journal.append(each)
        except AerostackError:
            return False
        return True

    def sweep(self) -> None:
        """Wait for the writers of nodes that are gone, and compare streams with the store. Call it once a second.
        Raises Overloaded, Unavailable; the next call continues."""
        here = self._journal.node
        present = {each.node for each in self._nodes.present()}
        if self._alone or self.is_unsure or here not in present:
            return
        is_first = self.is_first
        for key in self._writers.connected():
            stream = self._streams.find(*key)
            if stream is not None and stream.node != here and stream.visible:
                self._journal.append(replace(stream.snapshot(self._journal.last), owner=here))
        for stream in self._streams:
            if stream.node == here and _key(stream) not in self._writers:
                self._writers.wait_for(_key(stream))
            elif is_first and stream.node not in present and stream.visible:
                self._journal.append(replace(stream.snapshot(self._journal.last), owner=here))
        self._rows.compare()

    async def restore(self) -> None:
        """Take over the stored streams that no node knows, if that is this node's task. Raises AerostackError."""
        if self._restored or not self.is_first or (self.is_unsure and not self._alone):
            return
        await self._rows.announce_unknown(NOTHING_LOST if self._alone else self._journal.last)
        self._restored = True

    def share(self, stream: Stream) -> None:
        """Send all nodes what this one knows of a stream, once it is delivered here."""
        if stream.visible and not self._alone:
            with suppress(AerostackError):
                self._journal.append(stream.snapshot(self._journal.last))

    # --- what this node cannot decide yet ----------------------------------------------------------------

    def keep(self, position: int, node: str, item: Append | CancelStream) -> None:
        """An item that cannot be applied; it may be when this node knows more."""
        if self.is_unsure:
            self._kept.keep(position, node, item)

    def hold(self, event: PendingEvent) -> None:
        """The end of a stream is in its queue; while this node is unsure, pieces may be missing."""
        assert event.stream is not None, "it is the end of a stream"
        if self.holds_ends:
            self._held[_key(event.stream)] = event
            if not event.stream.persist:
                event.settled = False

    def store(self, position: int, store: Callable[[], None]) -> None:
        """Store an end once all pieces are known."""
        if self.holds_ends:
            self._stores.append((position, store))
        else:
            store()

    # --- what other nodes say ----------------------------------------------------------------------------

    def entered(self, position: int, node: str, item: StreamState) -> None:
        """A node says what it knows of a stream, or what is stored."""
        key = item.topic, item.id
        stream = self._streams.find(*key)
        self._doubtful.pop(key, None)
        if stream is None:
            held = self._held.get(key)
            if held is not None and held.stream is not None:
                held.stream.learn(item)
                if item.state != "open" and 0 < item.ended < held.position:  # the first end counts
                    self._streams.take_end(item, held.stream.last)
                    self._ended_as(held.stream, item)
                self._replay(position, held.stream, item.as_of)
                return
            if self._knows_end(key, item):
                return
        if item.state != "open":
            self._take_end(position, stream, item)
            return
        if stream is None:
            stream = stream_of(item)
            self._streams.restore(stream)
            self._open(position, stream)
        else:
            self._merge(position, node, stream, item)
        self._replay(position, stream, item.as_of)
        if stream.state == "open" and stream.visible:
            self._delivery.grow_stream(stream, self._holds.reached(item.topic, position))
        if item.owner == node:
            self._claimed(node, stream)

    def stored_end(self, message: StoredMessage) -> None:
        """Subscribers are being sent a stream whose end is stored: it is not open."""
        stream = self._streams.find(message.topic, message.id)
        if stream is not None and message.stream is not None and message.stream.state != "open":
            self._streams.take_end(stored_state(message, ""), message.stream.ended)
            self._drop(stream)
            self._delivery.forget_stream(stream)

    # --- inside ------------------------------------------------------------------------------------------

    def _knows_end(self, key: Key, item: StreamState) -> bool:
        """Whether a stream has ended; not if another node has read on from there, and it is still open."""
        end = self._streams.end_of(*key)
        if end is None:
            return False
        return item.state != "open" or end >= item.as_of or end > self._lost_after

    def _merge(self, position: int, node: str, stream: Stream, item: StreamState) -> None:
        if item.opened < stream.opened:
            stream.opened, stream.timestamp = item.opened, item.timestamp
        if item.owner == node:
            stream.node = node
        if stream.learn(item):
            stream.last = position
        if not stream.visible and item.as_of:  # what waits here for a commit was not the opening
            for event in self._holds.unsettled(lambda _: True):
                if event.stream is stream and not event.ends:
                    self._holds.settle(Settlement(event.position, "refused"))
            self._open(position, stream)
            self._release(stream.topic)

    def _open(self, position: int, stream: Stream) -> None:
        if stream.topic in self._holds.queues:
            self._holds.hold(
                PendingEvent(stream.topic, position, stream.node, stream.timestamp, True, stream=stream)
            )
        else:
            self._delivery.open_stream(stream, position)

    def _take_end(self, position: int, stream: Stream | None, item: StreamState) -> None:
        if stream is None:
            self._streams.take_end(item, position)
            return
        if not item.data and item.n > stream.n:
            self._lose(stream)
            return
        stream.learn(item)
        self._streams.take_end(item, position)
        stream.last = position
        self._ended_as(stream, item)
        if item.persist and self._delivery.is_replaying(item.topic):
            self._delivery.forget_stream(stream)  # the replay has it from the store
            self._writers.forget(_key(stream))
        else:
            self._end(position, stream)

    def _ended_as(self, stream: Stream, item: StreamState) -> None:
        stream.state = item.state
        if any(after < item.ended <= until for after, until in self._lost):
            stream.ended_before = item.ended

    def _end(self, position: int, stream: Stream) -> None:
        self._writers.forget(_key(stream))
        if stream.topic in self._holds.queues:
            self._holds.hold(
                PendingEvent(stream.topic, position, stream.node, stream.timestamp, True, stream=stream, ends=True)
            )
        else:
            self._delivery.end_stream(stream, position)

    def _claimed(self, node: str, stream: Stream) -> None:
        """A node waits for a stream's writer."""
        key = _key(stream)
        if node == self._journal.node:
            if key not in self._writers and stream.state == "open":
                self._writers.wait_for(key)
                self._rows.check(stream)
        elif self._writers.connection(key) is None:  # otherwise this node claims it again
            self._writers.forget(key)

    def _replay(self, position: int, stream: Stream, as_of: int) -> None:
        """Apply what was kept, of what the announcement does not include."""
        for kept in self._kept.take(_key(stream)):
            item = kept.item
            if kept.position <= as_of:
                continue
            if isinstance(item, CancelStream):
                result = self._streams.cancel(position, item)
            elif stream.state != "open":  # its end is held, and its pieces follow
                if item.data and item.n == stream.n:
                    stream.add(stream.last, item.data, stream.state)
                continue
            else:
                result = self._streams.append(position, kept.node, item)
            if isinstance(result, Appended) and result.ended:
                if stream.persist and kept.node == self._journal.node:
                    self.end_late(position, kept.position, stream)
                else:
                    self._end(position, stream)

    def _become_sure(self) -> None:
        """No other node knows more."""
        ends = self._kept.take_ends()
        self._lost_after = NOTHING_LOST
        held, self._held = self._held, {}
        stores, self._stores = self._stores, []
        doubtful, self._doubtful = self._doubtful, {}
        for event in held.values():
            event.settled = event.settled or not (event.stream is not None and event.stream.persist)
        for _, store in stores:
            store()
        for end in ends:
            if self._streams.find(end.item.topic, end.item.id) is None:  # the log is complete only from there on
                self._delivery.lack_events(end.item.topic, end.position)
        for key in doubtful:
            stream = self._streams.find(*key)
            if stream is not None:
                self._lose(stream)
        topics = {event.topic for event in held.values()} | set(self._drop_continuations())
        for topic in topics:
            self._release(topic)

    def _lose(self, stream: Stream) -> None:
        """No node has announced a stream: it ended in what this node skipped."""
        if stream.persist:
            self._rows.check(stream)
        else:
            self._streams.take_end(replace(stream.snapshot(0), state="failed"), self._journal.last)
            self._drop(stream)
            self._delivery.lose_stream(stream, self._journal.last)

    def _drop(self, stream: Stream) -> None:
        """A stream has ended elsewhere: its opening, if it waits, is not delivered."""
        self._writers.forget(_key(stream))
        self._holds.drop_stream(stream)
        self._release(stream.topic)

    def _drop_continuations(self) -> Iterable[str]:
        """Drop openings that were none, which nodes of another version appended; their topics."""
        here, before = self._journal.node, self._journal.last - COMMIT_US
        for event in self._holds.unsettled(lambda node: node != here):
            if event.stream is not None and not event.ends and event.position < before:
                self._holds.drop_stream(event.stream)
                self._streams.remove(event.stream)
                yield event.topic


def _key(stream: Stream) -> Key:
    return stream.topic, stream.id
