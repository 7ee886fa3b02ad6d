"""How long to wait before the next attempt to connect. No I/O, no sleep: the caller waits."""

import random
import time
from collections.abc import Callable
from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 30.0


class Backoff:
    """Waits of 1, 2, 4, 8 … 30 seconds, each shortened by up to half at random.

    The jitter keeps the clients of a restarted server from reconnecting all at once. It only shortens, so the
    figures are upper bounds. The series restarts after a connection has lasted `longest` seconds, so that a server
    that accepts and drops connections is not flooded.

    `random` returns a float in [0, 1); `clock` returns seconds and never goes back.
    """

    def __init__(
        self,
        first: float = FIRST,
        longest: float = LONGEST,
        *,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < first <= longest:
            raise ValueError(f"A back-off needs 0 < first <= longest, not {first} and {longest}.")
        self._first = first
        self._longest = longest
        self._random = random
        self._clock = clock
        self._next = first
        self._opened: float | None = None

    def opened(self) -> None:
        """A connection was opened now."""
        self._opened = self._clock()

    def wait(self) -> float:
        """The seconds to wait before the next attempt."""
        if self._opened is not None and self._clock() - self._opened >= self._longest:
            self._next = self._first
        self._opened = None
        bound = self._next
        self._next = min(bound * 2, self._longest)
        return self._shortened(bound)

    def longest(self) -> float:
        """The seconds to wait after a connection or rate limit was reached."""
        self._opened = None
        self._next = self._longest
        return self._shortened(self._longest)

    def _shortened(self, bound: float) -> float:
        return bound * (1 - self._random() / 2)
