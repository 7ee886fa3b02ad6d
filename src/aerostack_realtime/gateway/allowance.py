"""How much of something one client may do in a time: token buckets."""

from collections.abc import Callable
from typing import Final

from aerostack_realtime.gateway.limits import Limits


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


class Throttle:
    """What one connection sends, against the rates of the limits; `exempt` ones have none."""

    __slots__ = ("_bytes", "_control", "_messages", "_refusals", "_refused", "exempt")

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.exempt = False
        self._messages = _allowance(limits.messages_per_second, limits.messages_burst, now)
        self._bytes = _allowance(limits.publish_bytes_per_second, limits.publish_bytes_burst, now)
        self._control = _allowance(limits.control_frames_per_second, limits.control_frames_burst, now)
        self._refusals = limits.refused_messages
        self._refused = 0

    def message(self) -> bool:
        """Whether one more message is allowed."""
        if self.exempt or self._messages.take():
            self._refused = 0
            return True
        self._refused += 1
        return False

    @property
    def hopeless(self) -> bool:
        """Whether it goes on and on although it is told to wait."""
        return self._refused >= self._refusals

    def published(self, size: int) -> bool:
        return self.exempt or self._bytes.take(size)

    def control(self) -> bool:
        return self.exempt or self._control.take()


_UNLIMITED: Final = Allowance(0.0, 0.0, lambda: 0.0)


def _allowance(rate: float, burst: float, now: Callable[[], float]) -> Allowance:
    return Allowance(rate, burst, now) if rate else _UNLIMITED
