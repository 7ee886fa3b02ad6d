"""What the logs of a node may keep together: the oldest events of all give way first."""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Protocol

ENTRY_BYTES: Final = 120
"""What an event costs beside its frame: the objects around it, as `sys.getsizeof` counts them."""
_SPARE: Final = 1_000
"""Entries of logs that have become empty which the queue may hold beside as many as it needs."""


class Kept(Protocol):
    """A log as its budget sees it. `queued` is the budget's own mark."""

    queued: bool

    def __len__(self) -> int: ...

    @property
    def oldest(self) -> int: ...

    def drop(self) -> None: ...


class Budget:
    """`limit` bytes for all logs. A log writes itself what it spends (ENTRY_BYTES and its frame for each event),
    tells when it is not empty any more and when it is, and asks for room when `spent` is beyond the limit.

    The queue has a place for each log, not for each event, by the oldest event that it had when it was put there:
    that may be gone by now, which is found out when its turn comes. So an event that gives way costs O(log n) of
    the number of logs, and one that its own log lets go of costs nothing here.
    """

    __slots__ = ("_filled", "_queue", "evicted", "limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self.evicted = 0
        """Events that were removed to make room."""
        self._filled = 0
        self._queue: list[tuple[int, int, Kept]] = []

    def filled(self, log: Kept) -> None:
        """`log` has its first event."""
        self._filled += 1
        if not log.queued:
            log.queued = True
            heappush(self._queue, (log.oldest, id(log), log))
            if len(self._queue) > 2 * self._filled + _SPARE:
                self._tidy()

    def emptied(self) -> None:
        """A log has let go of its last event."""
        self._filled -= 1

    def make_room(self) -> None:
        """Let the oldest events give way."""
        queue = self._queue
        while self.spent > self.limit:
            position, _, log = queue[0]
            if not len(log):
                log.queued = False
                heappop(queue)
            elif log.oldest != position:
                heapreplace(queue, (log.oldest, id(log), log))
            else:
                self.evicted += 1
                log.drop()

    def _tidy(self) -> None:
        """Forget the logs that are empty, many of which nobody else remembers."""
        kept = []
        for _, _, log in self._queue:
            log.queued = len(log) > 0
            if log.queued:
                kept.append((log.oldest, id(log), log))
        heapify(kept)
        self._queue = kept
