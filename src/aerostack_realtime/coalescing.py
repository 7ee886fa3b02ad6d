"""Fewer and longer iterations of a busy event loop: what network cards call interrupt coalescing.

An iteration that finds two messages pays for `epoll_wait`, for waking up and for a submission of writes because
of them. When the core becomes short, a little delay lets more messages share these costs: see
docs/internals/performance.md.
"""

import time
from collections.abc import Callable
from typing import Final

Deferred = Callable[[], int | None]
"""What runs at the end of an iteration. It returns how many audiences it wrote to, if it writes to any."""

INTERVAL: Final = 0.0005
"""Seconds between iterations of a busy loop that write to several channels: the longest wait of a message."""
SEVERAL: Final = 2
"""From how many audiences in one iteration on others are likely to follow at once. A client that waits for each
answer is alone in its iteration, and does not wait longer."""
SHARE: Final = 0.4
"""The loop is busy when it uses more than this share of a core. Below, there is no need to trade delay for it."""
WINDOW: Final = 0.01
"""Seconds over which that share is taken."""


class Coalescing:
    """Pauses a busy event loop. All times are in seconds: `now` is the time, `cpu` that of this thread, and
    `sleep` blocks it, while other threads run."""

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now = now
        self._cpu = cpu
        self._sleep = sleep
        self._is_busy = False
        self._since = self._ended = now()
        self._used = cpu()

    def flushed(self, audiences: int) -> None:
        """Some audiences were written to in an iteration: pause if another at once would bring too little."""
        now = self._now()
        passed = now - self._since
        if passed >= WINDOW:
            used = self._cpu()
            self._is_busy = used - self._used > SHARE * passed
            self._since, self._used = now, used
        if self._is_busy and audiences >= SEVERAL and (left := self._ended + INTERVAL - now) > 0:
            self._sleep(left)
            now += left
        self._ended = now
