"""One topic: who is subscribed to it, who is present, and in which order its events go out."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import UNSET, Raw, Struct

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.backplane.base import Accepted
from aerostack_realtime.channels.audience import Audience
from aerostack_realtime.channels.backlog import Policy
from aerostack_realtime.channels.log import Log
from aerostack_realtime.channels.presence import Presence
from aerostack_realtime.channels.subscriber import Subscriber
from aerostack_realtime.channels.views import View, Views
from aerostack_realtime.database.base import Change, Kind
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.messages import Operation

log = logging.getLogger(__name__)


class Held(Struct):
    """An accepted event that waits for a commit: its own, or that of one accepted before it."""

    event: Accepted
    settled: bool


class CustomChannel:
    """A topic with a slash: events that clients and servers publish.

    Events are sent in the order they were accepted. A persisted one waits for its commit, and what was
    accepted after it waits with it.
    """

    def __init__(self, topic: str, audience: Audience, log: Log) -> None:
        self.topic = topic
        self.presence = Presence()
        self.audience = audience
        self.log = log
        self._held: deque[Held] = deque()
        self._subscribers: set[Subscriber] = set()

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    @property
    def members(self) -> int:
        return len(self.presence)

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self._subscribers or self.members or self._held or len(self.log))

    def audiences(self) -> Iterable[Audience]:
        return (self.audience,)

    def add(self, subscriber: Subscriber, policy: Policy | None, *, presence: bool) -> None:
        self._subscribers.add(subscriber)
        self.audience.add(subscriber, presence=presence, policy=policy)

    def remove(self, subscriber: Subscriber) -> bool:
        if subscriber not in self._subscribers:
            return False
        self._subscribers.discard(subscriber)
        self.audience.remove(subscriber)
        return True

    @property
    def holds(self) -> bool:
        """Whether an accepted event waits for a commit, so that every later one waits too."""
        return bool(self._held)

    def hold(self, event: Accepted, *, settled: bool) -> Held:
        """Keep an event in its place until it is settled and all before it are gone."""
        held = Held(event, settled)
        self._held.append(held)
        return held

    def drop(self, held: Held) -> None:
        """Take out an event whose commit failed, or which was there before."""
        self._held.remove(held)

    def release(self) -> list[Accepted]:
        """The events that wait for nothing any more, in order."""
        released = []
        while self._held and self._held[0].settled:
            released.append(self._held.popleft().event)
        return released


class TableChannel:
    """The topic of a table: its row changes, in the order of the change log, as each view shows them.

    A change whose rows, as a view shows them, are together more than `largest` bytes of JSON is told as a gap.
    """

    members = 0
    """Nobody is present on a table: its topic carries its rows alone."""

    def __init__(self, topic: str, table: str, audience: Callable[[], Audience], largest: int) -> None:
        self.topic = topic
        self.table = table
        self.kinds: Mapping[str, Kind] = {}
        """Of the table's columns, as the views compare them."""
        self._largest = largest
        self.views = Views(audience)
        self._subscribers: dict[Subscriber, View] = {}

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    @property
    def idle(self) -> bool:
        return not self._subscribers

    def audiences(self) -> Iterable[Audience]:
        return [view.audience for view in self.views]

    def add(self, subscriber: Subscriber, view: View, policy: Policy | None, *, presence: bool) -> None:
        before = self._subscribers.get(subscriber)
        self._subscribers[subscriber] = view
        view.audience.add(subscriber, presence=presence, policy=policy)
        if before is not None and before is not view:
            before.audience.remove(subscriber)
            self.views.discard(before)

    def remove(self, subscriber: Subscriber) -> bool:
        view = self._subscribers.pop(subscriber, None)
        if view is None:
            return False
        view.audience.remove(subscriber)
        self.views.discard(view)
        return True

    def deliver(self, change: Change) -> None:
        """Send a change to the views it concerns, encoded once for each thing it is to them.

        Who watches a view whose rule fails is denied it; nobody else notices.
        """
        encoded: dict[tuple[Operation, tuple[str, ...] | None], bytes] = {}
        failed: list[tuple[View, RuleFailed]] = []
        for view, operation in self.views.route(change):
            if isinstance(operation, RuleFailed):
                failed.append((view, operation))
                continue
            frame = encoded.get((operation, view.shown))
            if frame is None:
                frame = encoded[operation, view.shown] = self._frame(change, operation, view)
            view.audience.append(frame)
        for view, failure in failed:
            for subscriber in [each for each, watched in self._subscribers.items() if watched is view]:
                subscriber.deny(self.topic, failure)

    def interrupted(self, cursor: str, kinds: Mapping[str, Kind]) -> None:
        """Tell everyone of a gap up to `cursor`, after which the columns are compared by these kinds."""
        typed = bool(kinds or self.kinds)
        self.kinds = kinds
        self.views.retype(kinds)
        for view in self.views:
            told = view.kinds(kinds) if typed else UNSET
            message = messages.Subscribed(topic=self.topic, cursor=cursor, recovered=False, kinds=told)
            view.audience.append(frames.text(messages.encode(message)))

    def replayed(self, changes: Sequence[Change], view: View) -> bytes:
        """The frames of past changes, as one view shows them. Raises RuleFailed."""
        concerned = ((change, view.operation(change)) for change in changes)
        return b"".join(self._frame(change, operation, view) for change, operation in concerned if operation)

    def _frame(self, change: Change, operation: Operation, view: View) -> bytes:
        if change.large and self._is_beyond(change, operation, view):
            return self._gap(change)
        old = None if change.old is None or operation == "INSERT" else messages.encode(view.cut(change.old))
        if old is not None and len(old) > self._largest:
            return self._gap(change)
        data = old if old is not None and operation == "DELETE" else messages.encode(view.cut(change.data))
        if len(data) + len(old or b"") > self._largest:
            return self._gap(change)
        message = messages.DbChange(
            topic=self.topic,
            operation=operation,
            data=Raw(data),
            old=UNSET if old is None else Raw(old),
            timestamp=change.timestamp,
            cursor=change.cursor,
            commit=UNSET if change.commit is None else change.commit,
            commit_end=change.commit_end or UNSET,
        )
        return frames.text(messages.encode(message))

    def _is_beyond(self, change: Change, operation: Operation, view: View) -> bool:
        """Whether a change is too large by its texts alone, which encoded would be copied first."""
        rows = [] if operation == "DELETE" and change.old is not None else [change.data]
        if change.old is not None and operation != "INSERT":
            rows.append(change.old)
        texts = (value for row in rows for value in view.cut(row).values() if isinstance(value, str))
        return sum(map(len, texts)) > self._largest

    def _gap(self, change: Change) -> bytes:
        """What stands in place of a change that is too large to be sent: delivery goes on after it."""
        log.warning("a change of table %r is told as a gap: beyond %d bytes", self.table, self._largest)
        message = messages.Subscribed(topic=self.topic, cursor=change.cursor, recovered=False)
        return frames.text(messages.encode(message))
