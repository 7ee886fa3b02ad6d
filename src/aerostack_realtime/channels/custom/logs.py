"""The logs of the custom channels of a node: which bounds hold for which topic, and one budget for all."""

from collections.abc import Sequence

from aerostack_realtime.channels.custom.budget import Budget
from aerostack_realtime.channels.custom.log import Bounds, Log
from aerostack_realtime.counters import Counters
from aerostack_realtime.protocol import topics


class Logs:
    """`rules` are bounds of the topics that match a pattern (topics.like), of which the first counts; `limit` is
    how many bytes all logs may have together. `counters` are those of this process."""

    def __init__(self, rules: Sequence[tuple[str, Bounds]], limit: int, counters: Counters | None = None) -> None:
        self.counters = Counters() if counters is None else counters
        self._rules = [(topics.like(pattern), bounds) for pattern, bounds in rules]
        self._others = Bounds()
        self._budget = Budget(limit)

    @property
    def spent(self) -> int:
        """The bytes of all logs."""
        return self._budget.spent

    @property
    def evicted(self) -> int:
        """How many events the budget of all logs has removed."""
        return self._budget.evicted

    def rebound(self, rules: Sequence[tuple[str, Bounds]], limit: int) -> None:
        """Apply other bounds to new logs and in total; `bounds` names those of a log that exists."""
        self._rules = [(topics.like(pattern), bounds) for pattern, bounds in rules]
        self._budget.limit = limit
        self._budget.make_room()

    def expire(self, now: int) -> set[str]:
        """Forget the events that are too old at the position `now`.

        Returns the topics whose logs have become empty since the last call; some may have events again.
        """
        return self._budget.expire(now)

    def ages_changed(self) -> None:
        """The bounds of logs that exist are others."""
        self._budget.ages_changed()

    def log(self, topic: str, start: int) -> Log:
        """A new log for a canonical topic, complete after the position `start`."""
        return Log(start, self.bounds(topic), self._budget, self.counters.channel(topic, "event"), topic)

    def bounds(self, topic: str) -> Bounds:
        """The bounds of a canonical topic's log."""
        name = topics.without_project(topic)
        return next((bounds for pattern, bounds in self._rules if pattern.fullmatch(name)), self._others)
