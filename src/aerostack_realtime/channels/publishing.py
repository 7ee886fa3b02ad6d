"""The handling of publishes: which repeat others, which wait for a commit, and the order of delivery."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from msgspec import Raw

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Publish, Settle, Settlement
from aerostack_realtime.channels.custom.holds import HoldQueues, PendingEvent
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.custom.nodes import Nodes
from aerostack_realtime.channels.custom.presence import Change as PresenceChange
from aerostack_realtime.channels.custom.receipts import Key, Receipt, Receipts
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.outcome import Committed, Done, Outcome, PublishTracing
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.streaming import Streaming
from aerostack_realtime.coalescing import Deferred
from aerostack_realtime.database.message_store import NewMessage, OutcomeUnknown, Stored
from aerostack_realtime.protocol import presence, topics
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Conflict,
    Forbidden,
    Overloaded,
    Unavailable,
)

MAX_EVENT_NAME: Final = 256
"""Characters of an event's name: it is a word, and stands in every frame."""
MAX_ID: Final = 256
"""Characters of a publish's id: ids are remembered, so they must not carry data."""


class DocumentListener(Protocol):
    """Follows the messages of documents."""

    def check(self, topic: str, event: str, data: Raw) -> None:
        """A persisted message is about to be published. Raises BadMessage when it would break a document."""

    def stored(self, item: Publish) -> None:
        """A persisted message was delivered."""

    def opened(self, topic: str, messages: int) -> None:
        """A client was sent all stored messages of a channel; `messages` is their number."""


class Publishing:
    """The publishes of all nodes, in the order of the journal.

    `defer` runs a callable once the current tick has ended.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        registry: Registry,
        delivery: Delivery,
        cursors: Cursors,
        store: LicensedStore,
        nodes: Nodes,
        holds: HoldQueues,
        streaming: Streaming,
        defer: Callable[[Deferred], object],
    ) -> None:
        self.receipts = Receipts()
        self.tracing: PublishTracing | None = None
        self.documents: DocumentListener | None = None
        self.delivered = 0
        """The sum of the positions of all delivered events, for digests."""
        self._journal = journal
        self._registry = registry
        self._heard = registry.heard
        self._logs = registry.logs
        self._delivery = delivery
        self._cursors = cursors
        self._store = store
        self._nodes = nodes
        self._defer = defer
        self._holds = holds
        self.held = holds.queues
        """By topic, what waits for a commit, and behind one."""
        self._streaming = streaming
        self._pending: dict[Key, int] = {}
        """The persisted publishes with an id that wait for their Settle, and how many. A Counter costs 30 times as
        much for a key that comes and goes."""
        self._undecided: dict[int, Done] = {}
        """The publishers on this node of events that may turn out to repeat a pending one, by position."""
        self.unknown: set[int] = set()
        """The positions of this node's publishes, openings and ends of streams whose commit has no answer; settled
        once it is known."""
        self.lost_track: Callable[[], None] = lambda: None
        """Called when `unknown` grows."""
        self.unheld: Callable[[int], None] = lambda _position: None
        """Called with the position of a publish that was stored and is not held here."""
        self._settlements: list[Settlement] = []
        self._unsure: dict[int, Key] | None = {}
        """While this node may lack receipts that others have: the publishes that may repeat others."""
        self._start = 0

    def is_new(self, key: Key) -> bool:
        """Whether a publish with this key certainly repeats no other, and its id is not that of a stream."""
        return (
            self._unsure is None
            and not self._streaming.streams.current
            and not self._pending
            and self.receipts.find(key) is None
        )

    def began(self, start: int) -> None:
        """This node knows no item up to `start`."""
        self._start = start

    def published(self, position: int, at: int, node: str, item: Publish, done: Done | None) -> None:
        """A publish entered; `done` is its publisher on this node."""
        key = None
        if item.id is not None:
            current = self._streaming.streams.current
            if current and (item.topic, item.id) in current:
                if done is not None:
                    done(Conflict(f"The id {item.id!r} is that of an open stream; choose another id."))
                return
            key = item.topic, item.user_id or "", item.id
            receipt = self.receipts.find(key)
            if receipt is not None:
                if node == self._journal.node:
                    self._repeated(position, receipt, done)
                return
            if self._unsure is not None:
                self._unsure[position] = key
        if item.persist:
            self._hold(position, node, item, done)
            return
        if key is not None:
            if key in self._pending:
                self._holds.hold(
                    PendingEvent(item.topic, position, node, at // 1000, True, item, is_undecided=True)
                )
                if done is not None:
                    self._undecided[position] = done
                return
            self.receipts.remember(key, Receipt(position, at // 1000, position))
        topic, held = item.topic, self.held
        if done is None and not held and topic not in self._heard:  # most events of a large cluster
            self.delivered += position
            log = self._logs.get(topic)
            if log is None:
                log = self._registry.log(topic)
            log.append_item(position, at, item)
            return
        timestamp = at // 1000
        if held and topic in held:
            self._holds.hold(PendingEvent(topic, position, node, timestamp, True, item))
        else:
            self.delivered += position
            self._delivery.publish(position, timestamp, item, self._cursors.epoch)
        if done is not None:
            done(Outcome(self._cursors.at(position), timestamp))

    def settled(self, position: int, item: Settle) -> None:
        """Some publishes were stored, or turned out not to be delivered."""
        topics: dict[str, None] = {}
        for settlement in item.settlements:
            if settlement.outcome == "duplicate" and self._unsure:
                self._correct(settlement)
            event = self._holds.settle(settlement)
            if event is None:
                if settlement.outcome == "stored":
                    self.unheld(settlement.position)
                continue
            topics[event.topic] = None
            if event.stream is not None:
                self._streaming.settled(event, settlement)
            key = _key(event)
            if key is None:
                continue
            self._no_longer_pending(key)
            if settlement.outcome != "stored":
                continue
            receipt = self.receipts.find(key)
            if receipt is None:
                self.receipts.remember(key, Receipt(event.position, event.timestamp, position))
            elif receipt.position != event.position:  # refused once, and delivered as an ephemeral event meanwhile
                self._holds.drop(event)
        for topic in topics:
            self.release(topic)

    def present(self, position: int, at: int, node: str, changes: Mapping[str, list[PresenceChange]]) -> None:
        """Send what one item changed of the members."""
        timestamp = at // 1000
        for topic, changed in changes.items():
            if not changed:
                continue
            frames = self._delivery.presence_frames(topic, position, timestamp, changed)
            if topic in self.held:
                self._holds.hold(PendingEvent(topic, position, node, timestamp, True, frames=frames))
            else:
                self._delivery.presence(topic, position, frames)

    def drop_after(self, position: int) -> None:
        """The journal lost what followed `position`: what is held of it is never settled, and not delivered.

        The receipts of it are forgotten: the nodes that had not read it lack them, and all nodes have to take the
        same publishes for repeats. So an ephemeral event that is sent again, or whose node appends it again, is a
        new one, after the gap. A persisted message is recognised by the database."""
        self.receipts.forget_above(position)
        for event in self._holds.drop_after(position):
            if event.stream is not None:
                self._streaming.settled(event, Settlement(event.position, "refused"))
            if not event.settled and (key := _key(event)) is not None:
                self._no_longer_pending(key)
            done = self._undecided.pop(event.position, None)
            if done is not None:
                done(Unavailable("The journal has failed over and lost this event; publish it again."))

    def orphans(self, is_dead: Callable[[str], bool]) -> list[PendingEvent]:
        """The persisted publishes of dead nodes that wait for a Settle."""
        return self._holds.unsettled(is_dead)

    @property
    def oldest_unsettled(self) -> int | None:
        """The position of the oldest persisted publish that waits for its Settle."""
        return self._holds.oldest_unsettled

    def store_again(self, event: PendingEvent) -> None:
        """Repeat a commit that has no answer, so that it gets one."""
        if event.stream is not None:
            self._streaming.store_again(event)
            return
        assert event.item is not None, "a commit stores a publish"
        self._store_message(event.position, event.item, None, is_repeated=True)

    def lose_track(self, position: int) -> None:
        """The commit of what this node appended at a position has no answer."""
        self.unknown.add(position)
        self.lost_track()

    def forget_below(self, floor: int) -> None:
        """A Beat announced a floor."""
        self.receipts.forget_below(floor)
        self._streaming.streams.forget_below(floor)
        if self.receipts.floor >= self._start:
            self.be_sure()

    def be_sure(self) -> None:
        """No node has a receipt that this one lacks."""
        self._unsure = None

    def report_settlements(self) -> None:
        """Put what was settled into the journal; what it refuses now is kept for the next call."""
        settlements, self._settlements = self._settlements, []
        if settlements:
            try:
                self._journal.append(Settle(tuple(settlements)))
            except AerostackError:
                self._settlements = settlements + self._settlements

    def report(self, settlement: Settlement) -> None:
        """Put a settlement into the journal at the end of the tick, with the others of this tick."""
        if not self._settlements:
            self._defer(self.report_settlements)
        self._settlements.append(settlement)

    # --- inside ------------------------------------------------------------------------------------------

    def _repeated(self, position: int, receipt: Receipt, done: Done | None) -> None:
        outcome = Outcome(self._cursors.of(receipt.position), receipt.timestamp, duplicate=True)
        self.report(Settlement(position, "duplicate", receipt.timestamp, receipt.position))
        if done is not None:
            done(outcome)

    def _correct(self, settlement: Settlement) -> None:
        """A publish that this node took for a new one repeats one from before its start."""
        assert self._unsure is not None, "only while this node may lack receipts"
        key = self._unsure.pop(settlement.position, None)
        if key is not None:
            self.receipts.remember(key, Receipt(settlement.original, settlement.created_at, settlement.original))
            self._registry.log(key[0]).remove(settlement.position)

    def _hold(self, position: int, node: str, item: Publish, done: Done | None) -> None:
        if not self._nodes.alive(node):
            if node == self._journal.node:  # a newcomer that has not read of the death waits for it
                self.report(Settlement(position, "refused"))
            if done is not None:
                done(Unavailable("This node was cut off from the cluster; retry in a moment."))
            return
        event = PendingEvent(item.topic, position, node, 0, False, item)
        self._holds.hold(event)
        if (key := _key(event)) is not None:
            self._pending[key] = self._pending.get(key, 0) + 1
        if node == self._journal.node:
            self._store_message(position, item, done)

    def _store_message(
        self, position: int, item: Publish, done: Done | None, *, is_repeated: bool = False
    ) -> None:
        """Store a persisted publish of this node; its Settle follows the commit. `is_repeated`: an earlier attempt
        has no answer."""

        def stored(result: Stored | AerostackError) -> None:
            if isinstance(result, OutcomeUnknown) or (
                is_repeated and isinstance(result, Unavailable | Overloaded)
            ):
                self.lose_track(position)
                outcome: Outcome | AerostackError = result
            elif isinstance(result, AerostackError):
                self.report(Settlement(position, "refused"))
                outcome = result
            else:
                message = result.message
                repeats = message.position != position
                if repeats:
                    self.report(Settlement(position, "duplicate", message.created_at, message.position))
                else:  # perhaps by an earlier attempt
                    self.report(Settlement(position, "stored", message.created_at))
                outcome = Outcome(self._cursors.of(message.position), message.created_at, repeats)
            if done is not None:
                done(outcome)

        report: Committed = stored
        if self.tracing is not None:
            report = self.tracing.commit(item.topic, item.traceparent, stored)
        id = item.id or f"{position:x}"
        user_id, data = item.user_id or "", Raw(item.data)
        message = NewMessage(
            *(item.topic, id, user_id, item.event, data, position), compacts=item.compacts, keeps=item.keeps
        )
        try:
            self._store.append(message, report)
        except AerostackError as error:
            report(error)

    def release(self, topic: str) -> None:
        """Deliver what does not wait in a channel any more."""
        for event in self._holds.release(topic):
            if event.stream is not None:
                self.delivered += event.position
                self._streaming.released(event)
            elif event.item is None:
                self._delivery.presence(topic, event.position, event.frames)
            elif not event.is_undecided or self._is_first(event):
                self.delivered += event.position
                epoch = self._cursors.epoch_of(event.position)
                self._delivery.publish(event.position, event.timestamp, event.item, epoch)
                if self.documents is not None and event.item.persist:
                    self.documents.stored(event.item)

    def _is_first(self, event: PendingEvent) -> bool:
        """Decide whether an event repeats the one that it waited for, and answer its publisher."""
        key = _key(event)
        assert key is not None, "only an event with an id may be a repeat"
        done = self._undecided.pop(event.position, None)
        receipt = self.receipts.find(key)
        if receipt is None:
            self.receipts.remember(key, Receipt(event.position, event.timestamp, event.position))
            if done is not None:
                done(Outcome(self._cursors.at(event.position), event.timestamp))
            return True
        if event.node == self._journal.node:
            self._repeated(event.position, receipt, done)
        return False

    def _no_longer_pending(self, key: Key) -> None:
        left = self._pending.pop(key) - 1
        if left:
            self._pending[key] = left


def _key(event: PendingEvent) -> Key | None:
    publish = event.item
    if publish is None or publish.id is None or event.stream is not None:
        return None
    return event.topic, publish.user_id or "", publish.id


def check_event(topic: str, event: str, id: str | None) -> None:
    """Raises BadMessage, Forbidden."""
    if not event or len(event) > MAX_EVENT_NAME:
        raise BadMessage(f"An event's name is 1 to {MAX_EVENT_NAME} characters long.")
    if event.startswith(presence.PREFIX):
        raise BadMessage("Events named presence:… are the server's own; use track and untrack.")
    if id is not None and not 1 <= len(id) <= MAX_ID:
        raise BadMessage(f"The id of a publish is 1 to {MAX_ID} characters long.")
    if topics.is_table(topic):
        raise Forbidden(
            "Row changes come from the database alone: write to the table, or use a topic with a slash."
        )
