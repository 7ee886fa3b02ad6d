"""How much of something one client may do in a time: token buckets."""

from collections.abc import Callable


class Allowance:
    """`rate` units a second, up to `burst` of them saved; a rate of 0 is no limit. `now` is in seconds."""

    __slots__ = ("_burst", "_left", "_now", "_rate", "_seen")

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._now = now
        self._seen = now()

    def take(self, amount: float = 1.0) -> bool:
        """Use some of it; False when there is not enough, and then nothing is used.

        What is more than the whole burst is allowed when the burst is full, and has to be waited off.
        """
        if not self._rate:
            return True
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < min(amount, self._burst):
            return False
        self._left -= amount
        return True
