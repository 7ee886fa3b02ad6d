"""When the events of logs become too old, without a look at every log."""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Protocol

_SPARE: Final = 1_000
"""Entries of logs that have become empty which the queue may hold beside as many as it needs."""


class Ageing(Protocol):
    """A log as its expiry sees it. `timed` is the expiry's own mark."""

    timed: bool

    def __len__(self) -> int: ...

    @property
    def due(self) -> int:
        """The position at which the oldest event becomes too old; the log must not be empty."""

    def expire(self, now: int) -> None: ...


class Expiry:
    """The logs that are not empty, by when an event that they have or had is too old.

    A log is visited when such an event is due, so the cost follows what expires and not how many logs there are.
    """

    __slots__ = ("_queue", "_tidy_at")

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Ageing]] = []
        self._tidy_at = _SPARE

    def filled(self, log: Ageing) -> None:
        """`log` has its first event."""
        if log.timed:
            return
        log.timed = True
        heappush(self._queue, (log.due, id(log), log))
        if len(self._queue) > self._tidy_at:
            self.rebuild()

    def expire(self, now: int) -> None:
        """Let the logs forget what is too old at the position `now`."""
        queue = self._queue
        while queue and queue[0][0] < now:
            log = queue[0][2]
            log.expire(now)
            if len(log):
                heapreplace(queue, (log.due, id(log), log))
            else:
                log.timed = False
                heappop(queue)

    def rebuild(self) -> None:
        """Forget the logs that are empty, and ask the others again when they are due."""
        kept = []
        for _, _, log in self._queue:
            log.timed = len(log) > 0
            if log.timed:
                kept.append((log.due, id(log), log))
        heapify(kept)
        self._queue = kept
        self._tidy_at = 2 * len(kept) + _SPARE
