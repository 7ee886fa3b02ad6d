"""A table channel: the views of one table and their subscribers."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import UNSET

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.tables.views import View, Views
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.database.base import Change, ColumnType
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.change_frames import ChangeFrames
from aerostack_realtime.protocol.messages import Operation

log = logging.getLogger(__name__)


class TableChannel:
    """The topic of a table: its row changes, in the order of the change log, as each view shows them.

    A change whose rows, as a view shows them, are together more than `largest` bytes of JSON is reported as a gap.
    """

    def __init__(
        self,
        topic: str,
        table: str,
        audience: Callable[[], Audience],
        largest: int,
        counters: ChannelCounters | None = None,
    ) -> None:
        self.counters = ChannelCounters() if counters is None else counters
        self.topic = topic
        self.table = table
        self.column_types: Mapping[str, ColumnType] = {}
        """Of the table's columns, as the views compare them."""
        self._largest = largest
        self._frames = ChangeFrames(topic)
        self.views = Views(audience)
        self._subscribers: dict[Subscriber, View] = {}

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def audiences(self) -> Iterable[Audience]:
        return [view.audience for view in self.views]

    def view(self, subscriber: Subscriber) -> View:
        """The view of a subscriber, live or behind."""
        return self._subscribers[subscriber]

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

    def deliver(self, changes: Iterable[Change]) -> None:
        """Send changes to the views they concern, each encoded once for each thing it is to them.

        Who watches a view whose rule fails is denied it; nobody else notices.
        """
        count = 0
        only, route = self.views.only, self.views.route
        for change in changes:
            count += 1
            if only is not None:  # almost every change: what `route` finds for at most one view without a test
                key, views = only
                old = change.old
                after = key(change.data)
                if old is None or old is change.data or key(old) == after:
                    found = views.get(after)
                    if found is None:
                        continue
                    if len(found) == 1 and found[0].simple:
                        [view] = found
                        view.audience.append(self._frame(change, change.operation, view))
                        continue
            self._deliver_to(route(change), change)
        self.counters.events += count

    def _deliver_to(self, concerned: Sequence[tuple[View, Operation | RuleFailed]], change: Change) -> None:
        encoded: dict[tuple[Operation, tuple[str, ...] | None], bytes] | None = None
        failed: list[tuple[View, RuleFailed]] | None = None
        for view, operation in concerned:
            if isinstance(operation, RuleFailed):
                failed = [*(failed or ()), (view, operation)]
            elif len(concerned) == 1:
                view.audience.append(self._frame(change, operation, view))
            else:
                encoded = {} if encoded is None else encoded
                frame = encoded.get((operation, view.shown))
                if frame is None:
                    frame = encoded[operation, view.shown] = self._frame(change, operation, view)
                view.audience.append(frame)
        if failed is not None:
            self._deny(failed)

    def _deny(self, failed: Sequence[tuple[View, RuleFailed]]) -> None:
        for view, failure in failed:
            for subscriber in [each for each, watched in self._subscribers.items() if watched is view]:
                subscriber.deny(self.topic, failure)

    def interrupted(self, cursor: str, column_types: Mapping[str, ColumnType]) -> None:
        """Tell everyone of a gap up to `cursor`, after which the columns are compared by these column_types."""
        typed = bool(column_types or self.column_types)
        self.column_types = column_types
        self.views.retype(column_types)
        for view in self.views:
            shown = view.column_types(column_types) if typed else UNSET
            message = messages.Subscribed(topic=self.topic, cursor=cursor, recovered=False, column_types=shown)
            self.counters.interrupted += len(view.audience)
            view.audience.append(frames.encode(message))

    def replayed(self, changes: Sequence[Change], view: View) -> list[tuple[str, bytes]]:
        """The frames of past changes, as one view shows them, each with its cursor. Raises RuleFailed."""
        concerned = ((change, view.operation(change)) for change in changes)
        return [
            (change.cursor, self._frame(change, operation, view)) for change, operation in concerned if operation
        ]

    def numbered(self, changes: Sequence[Change], view: View, first: int) -> list[tuple[int, bytes]]:
        """The frames of past changes, as one view shows them, each with the number of its change, counted from
        `first`. Raises RuleFailed."""
        concerned = [(number, change, view.operation(change)) for number, change in enumerate(changes, first)]
        return [
            (number, self._frame(change, operation, view)) for number, change, operation in concerned if operation
        ]

    def _frame(self, change: Change, operation: Operation, view: View) -> bytes:
        if change.large and self._is_beyond(change, operation, view):
            return self._gap(change)
        size, old, row = 0, None, change.data
        if change.old is not None and operation != "INSERT":
            old = messages.encode(view.cut(change.old))
            size = len(old)
            if size > self._largest:
                return self._gap(change)
        if old is not None and operation == "DELETE":
            data = old
        else:
            data = messages.encode(row if view.shown is None else view.cut(row))
        if size + len(data) > self._largest:
            return self._gap(change)
        return self._frames.frame(
            operation, data, old, change.timestamp, change.cursor, change.commit, change.commit_end
        )

    def _is_beyond(self, change: Change, operation: Operation, view: View) -> bool:
        """Whether a change is too large by its texts alone, which encoded would be copied first."""
        rows = [] if operation == "DELETE" and change.old is not None else [change.data]
        if change.old is not None and operation != "INSERT":
            rows.append(change.old)
        texts = (value for row in rows for value in view.cut(row).values() if isinstance(value, str))
        return sum(map(len, texts)) > self._largest

    def _gap(self, change: Change) -> bytes:
        """A gap in place of a change that is too large to be sent: delivery continues after it."""
        log.warning("a change of table %r is reported as a gap: it exceeds %d bytes", self.table, self._largest)
        message = messages.Subscribed(topic=self.topic, cursor=change.cursor, recovered=False)
        return frames.encode(message)
