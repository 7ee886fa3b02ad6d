"""The way of a row change into the channels."""

from collections.abc import Callable, Sequence

from aerostack_realtime.database.base import Change, ChangeListener


class ChangeFanOut:
    """The listener of the change feed. It passes every change to `listeners`, in their order.

    The database needs a listener when it is opened, before the hub exists; until `listeners` is set nobody is
    subscribed, and changes are ignored. Memberships come first, so that a user who loses a membership is
    evicted before the change is delivered. Then `flush` writes what is buffered for subscribers, so that a feed
    knows what its changes cost.
    """

    def __init__(self) -> None:
        self.listeners: tuple[ChangeListener, ...] = ()
        self.flush: Callable[[], object] = lambda: None

    def add(self, listener: ChangeListener) -> None:
        """Pass changes to another listener too, before all others."""
        self.listeners = (listener, *self.listeners)

    def remove(self, listener: ChangeListener) -> None:
        self.listeners = tuple(each for each in self.listeners if each is not listener)

    def changed(self, changes: Sequence[Change]) -> None:
        for each in self.listeners:
            each.changed(changes)
        self.flush()

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        for each in self.listeners:
            each.interrupted(table, cursor, present)
