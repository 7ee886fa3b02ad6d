"""The replica: this node's copy of what the journal says about custom channels.

Every node handles the same items in the same order and comes to the same decisions: the order of events, which
publish repeats another, what waits for a commit, who is present. Synchronous throughout.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import assert_never

from msgspec import Raw, Struct

from aerostack_realtime.backplane import items
from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import AnyItem, Publish, Settle, Settlement
from aerostack_realtime.channels.custom.cursors import Cursors
from aerostack_realtime.channels.custom.holds import HoldQueues, PendingEvent
from aerostack_realtime.channels.custom.members import Members
from aerostack_realtime.channels.custom.presence import Change as PresenceChange
from aerostack_realtime.channels.custom.receipts import Receipt, Receipts
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.database.base import MessageStore, NewMessage, Stored
from aerostack_realtime.protocol.errors import AerostackError


class Outcome(Struct, frozen=True, gc=False):
    """Where and when (ms) a command took effect, and whether it was a repeat of one accepted before."""

    cursor: str
    timestamp: int
    duplicate: bool = False


Done = Callable[[Outcome | AerostackError], None]


class Replica:
    """Implements `JournalListener`. `defer` runs a callable once the current tick has ended."""

    def __init__(
        self,
        *,
        journal: Journal,
        registry: Registry,
        delivery: Delivery,
        cursors: Cursors,
        store: MessageStore,
        defer: Callable[[Callable[[], None]], object],
    ) -> None:
        self.members = Members()
        self._journal = journal
        self._registry = registry
        self._delivery = delivery
        self._cursors = cursors
        self._store = store
        self._defer = defer
        self._names = {journal.node}
        self._receipts = Receipts()
        self._holds = HoldQueues()
        self._awaiting: deque[Done | None] = deque()
        self._settlements: list[Settlement] = []

    def append(self, item: Publish | items.Track | items.Untrack, done: Done | None) -> None:
        """Put an item of this node into the journal.

        `done` is called when it has entered, which may be at once; for a persisted publish after its commit.
        Raises Overloaded, Unavailable.
        """
        self._awaiting.append(done)
        try:
            self._journal.append(item)
        except AerostackError:
            self._awaiting.pop()
            raise

    # --- the journal's listener --------------------------------------------------------------------------

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        match item:
            case Publish():
                self._published(position, at, node, item)
            case Settle():
                self._settled(item)
            case items.Track():
                done = self._pop(node)
                changes = self.members.track(node, item, at // 1000, position)
                self._present(position, at, node, {item.topic: changes})
                self._answer(done, position, at)
            case items.Untrack():
                done = self._pop(node)
                changes = self.members.untrack(node, item.topic, item.connection)
                self._present(position, at, node, {item.topic: changes})
                self._answer(done, position, at)
            case items.Roster() | items.Hello() | items.Beat() | items.Bye() | items.Ask() | items.Answer():
                pass
            case _:
                assert_never(item)

    def began(self, since: int, until: int) -> None:
        self._registry.restart_logs(max(since, until))

    def cut_off(self) -> None:
        pass

    def reconnected(self) -> None:
        pass

    # --- inside ------------------------------------------------------------------------------------------

    def _published(self, position: int, at: int, node: str, item: Publish) -> None:
        done = self._awaiting.popleft() if node in self._names else None
        key = None
        if item.id is not None:
            key = item.topic, item.user_id or "", item.id
            receipt = self._receipts.find(key)
            if receipt is not None:
                if node in self._names:
                    self._repeated(position, receipt, done)
                return
        if item.persist:
            self._holds.hold(PendingEvent(item.topic, position, node, 0, False, item))
            if node in self._names:
                self._store_message(position, item, done)
            return
        timestamp = at // 1000
        if key is not None:
            self._receipts.remember(key, Receipt(position, timestamp))
        cursor = self._cursors.at(position)
        if self._holds and self._holds.holds(item.topic):
            self._holds.hold(PendingEvent(item.topic, position, node, timestamp, True, item))
        else:
            self._delivery.publish(position, timestamp, item, cursor)
        if done is not None:
            done(Outcome(cursor, timestamp))

    def _repeated(self, position: int, receipt: Receipt, done: Done | None) -> None:
        outcome = Outcome(self._cursors.at(receipt.position), receipt.timestamp, duplicate=True)
        self._report(Settlement(position, "duplicate", receipt.timestamp, receipt.position))
        if done is not None:
            done(outcome)

    def _store_message(self, position: int, item: Publish, done: Done | None) -> None:
        """Store a persisted publish of this node; its Settle follows the commit."""

        def stored(result: Stored | AerostackError) -> None:
            if isinstance(result, AerostackError):
                self._report(Settlement(position, "refused"))
                if done is not None:
                    done(result)
                return
            message = result.message
            if result.duplicate:
                self._report(Settlement(position, "duplicate", message.created_at, message.position))
            else:
                self._report(Settlement(position, "stored", message.created_at))
            if done is not None:
                done(Outcome(self._cursors.at(message.position), message.created_at, result.duplicate))

        message = NewMessage(
            item.topic, item.id or f"{position:x}", item.user_id or "", item.event, Raw(item.data), position
        )
        try:
            self._store.append(message, stored)
        except AerostackError as error:
            stored(error)

    def _report(self, settlement: Settlement) -> None:
        """Put a settlement into the journal at the end of the tick, with the others of this tick."""
        if not self._settlements:
            self._defer(self._append_settlements)
        self._settlements.append(settlement)

    def _append_settlements(self) -> None:
        settlements, self._settlements = self._settlements, []
        if settlements:
            self._journal.append(Settle(tuple(settlements)))

    def _settled(self, item: Settle) -> None:
        topics: dict[str, None] = {}
        for settlement in item.settlements:
            event = self._holds.settle(settlement)
            if event is None:
                continue
            publish = event.item
            if publish is not None and publish.id is not None and settlement.outcome == "stored":
                key = event.topic, publish.user_id or "", publish.id
                self._receipts.remember(key, Receipt(event.position, event.timestamp))
            topics[event.topic] = None
        for topic in topics:
            self._release(topic)

    def _release(self, topic: str) -> None:
        for event in self._holds.release(topic):
            if event.item is None:
                self._delivery.presence(topic, event.position, event.frames)
            else:
                cursor = self._cursors.at(event.position)
                self._delivery.publish(event.position, event.timestamp, event.item, cursor)

    def _present(self, position: int, at: int, node: str, changes: Mapping[str, list[PresenceChange]]) -> None:
        """Send what one item changed of the members."""
        timestamp = at // 1000
        for topic, changed in changes.items():
            if not changed:
                continue
            frames = self._delivery.presence_frames(topic, position, timestamp, changed)
            if self._holds.holds(topic):
                self._holds.hold(PendingEvent(topic, position, node, timestamp, True, frames=frames))
            else:
                self._delivery.presence(topic, position, frames)

    def _pop(self, node: str) -> Done | None:
        return self._awaiting.popleft() if node in self._names else None

    def _answer(self, done: Done | None, position: int, at: int) -> None:
        if done is not None:
            done(Outcome(self._cursors.at(position), at // 1000))
