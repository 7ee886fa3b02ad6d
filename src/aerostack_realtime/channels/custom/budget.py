"""What the logs of a node may keep together, and for how long: the oldest events of all give way first."""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Protocol

from aerostack_realtime.channels.custom.expiry import Ageing, Expiry

ENTRY_BYTES: Final = 120
"""What an event costs beside its frame: the objects around it, as `sys.getsizeof` counts them."""
_SPARE: Final = 1_000
"""Entries of logs that have become empty which the queue may hold beside as many as it needs."""


class Kept(Ageing, Protocol):
    """A log as its budget sees it. `queued` is the budget's own mark."""

    queued: bool

    @property
    def topic(self) -> str: ...

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

    __slots__ = ("_emptied", "_expiry", "_filled", "_queue", "evicted", "limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self.evicted = 0
        """Events that were removed to make room."""
        self._filled = 0
        self._queue: list[tuple[int, int, Kept]] = []
        self._expiry = Expiry()
        self._emptied: set[str] = set()

    def filled(self, log: Kept) -> None:
        """`log` has its first event."""
        self._filled += 1
        self._expiry.filled(log)
        if not log.queued:
            log.queued = True
            heappush(self._queue, (log.oldest, id(log), log))
            if len(self._queue) > 2 * self._filled + _SPARE:
                self._tidy()

    def emptied(self, log: Kept) -> None:
        """`log` has let go of its last event."""
        self._filled -= 1
        self._emptied.add(log.topic)

    def expire(self, now: int) -> set[str]:
        """Let the logs forget what is too old at the position `now`. Returns the topics of those that have become
        empty since the last call; some may have events again."""
        self._expiry.expire(now)
        emptied, self._emptied = self._emptied, set()
        return emptied

    def ages_changed(self) -> None:
        """The bounds of logs are others."""
        self._expiry.rebuild()

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
