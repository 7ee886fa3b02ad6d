"""Rate limits: token buckets."""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Literal

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.protocol.errors import RateLimited

Caller = tuple[Literal["user", "address"], str]
MAX_NAMES: Final = 10_000
"""Names remembered, some 400 bytes each."""


class TokenBucket:
    """`rate` units a second, up to `burst` of them saved; a rate of 0 is no limit. `now` is in seconds."""

    __slots__ = ("_burst", "_left", "_now", "_rate", "_seen")

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._now = now
        self._seen = now()

    def take(self, amount: float = 1.0, now: float | None = None) -> bool:
        """Use some of it; False when there is not enough, and then nothing is used. `now` is the time, where the
        caller knows it.

        What is more than the whole burst is allowed when the burst is full, and has to be waited off.
        """
        if not self._rate:
            return True
        if now is None:
            now = self._now()
        burst, left = self._burst, self._left + (now - self._seen) * self._rate
        self._seen = now
        if left >= burst:  # without min(), whose calls cost more than the rest of this
            left = burst
        elif left < amount:
            self._left = left
            return False
        self._left = left - amount
        return True

    def charge(self, amount: float) -> None:
        """Remove an amount, as far as there is any."""
        self.take(0)
        self._left = max(min(self._left, 0.0), self._left - amount)

    def give_back(self, amount: float) -> None:
        """What was taken has not been used."""
        self._left += amount

    def wait(self, amount: float = 1.0) -> float:
        """Seconds from the last `take` on until there is enough."""
        return max(0.0, (min(amount, self._burst) - self._left) / self._rate) if self._rate else 0.0


class ConnectionRateLimiter:
    """What one connection sends, against the rates of the limits; `exempt` ones have none.

    A bucket is made when it is first used, since most connections need one or two of the five.
    """

    __slots__ = (
        "_bytes",
        "_control",
        "_limits",
        "_messages",
        "_now",
        "_refusals",
        "_refused_bytes",
        "abusive",
        "exempt",
    )

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.exempt = False
        self.abusive = False
        """Whether it keeps sending although it is asked to wait."""
        self._limits = limits
        self._now = now
        self._messages: TokenBucket | None = None
        self._bytes: TokenBucket | None = None
        self._control: TokenBucket | None = None
        self._refusals: TokenBucket | None = None
        self._refused_bytes: TokenBucket | None = None

    def message(self, now: float) -> bool:
        """Whether one more message is allowed."""
        if self.exempt:
            return True
        bucket = self._messages
        if bucket is None:
            bucket = self._messages = self._bucket(self._limits.messages_per_second, self._limits.messages_burst)
        if bucket is _UNLIMITED or bucket.take(1.0, now):
            return True
        if self._refusals is None:
            self._refusals = self._bucket(self._limits.messages_per_second, self._limits.refused_messages)
        self.abusive = not self._refusals.take()
        return False

    def published(self, size: int, now: float) -> bool:
        """Whether publishing `size` more bytes is allowed."""
        if self.exempt:
            return True
        limits, bucket = self._limits, self._bytes
        if bucket is None:
            bucket = self._bytes = self._bucket(limits.publish_bytes_per_second, limits.publish_bytes_burst)
        if bucket is _UNLIMITED or bucket.take(size, now):
            return True
        if self._refused_bytes is None:
            self._refused_bytes = self._bucket(limits.publish_bytes_per_second, 2 * limits.publish_bytes_burst)
        self.abusive = not self._refused_bytes.take(size)
        return False

    def publishes(self, count: int, size: int, now: float) -> bool:
        """Whether publishing `count` more messages of `size` bytes together is allowed. If it is not, nothing is
        used or refused: `message` and `published` say what is."""
        if self.exempt:
            return True
        of_messages, of_bytes = self._messages, self._bytes
        if of_messages is None or of_bytes is None:
            return False
        if of_messages is not _UNLIMITED and not of_messages.take(count, now):
            return False
        if of_bytes is _UNLIMITED or of_bytes.take(size, now):
            return True
        of_messages.give_back(count)
        return False

    def control(self) -> bool:
        if self._control is None:
            limits = self._limits
            self._control = self._bucket(limits.control_frames_per_second, limits.control_frames_burst)
        return self.exempt or self._control.take()

    def _bucket(self, rate: float, burst: float) -> TokenBucket:
        return _allowance(rate, burst, self._now)


class KeyedTokenBuckets:
    """A token bucket for each name, with any number of names.

    The last `MAX_NAMES` names are remembered. A forgotten name starts with a full burst, which is all that
    inventing names can gain.
    """

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._make = partial(_allowance, rate, burst, now)
        self._known: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, name: Hashable, amount: float, what: str) -> None:
        """Use some of a name's. Raises RateLimited, naming `what` there is too much of."""
        allowance = self._of(name)
        if not allowance.take(amount):
            seconds = max(1, math.ceil(allowance.wait(amount)))
            raise RateLimited(f"Rate limit of {what} exceeded; retry in {seconds} s.", seconds)

    def charge(self, name: Hashable, amount: float) -> None:
        """Remove an amount from a name's bucket."""
        self._of(name).charge(amount)

    def _of(self, name: Hashable) -> TokenBucket:
        known = self._known
        allowance = known.get(name)
        if allowance is None:
            if len(known) >= MAX_NAMES:
                known.popitem(last=False)
            allowance = known[name] = self._make()
        else:
            known.move_to_end(name)
        return allowance


class HttpRateLimiter:
    """The rates of HTTP calls and of the bytes they publish, per caller."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self.limits_changed()

    def limits_changed(self) -> None:
        """Count by the limits of now; every caller begins with a whole burst."""
        limits, now = self._limits, self._now
        self._calls = KeyedTokenBuckets(limits.calls_per_second, limits.calls_burst, now)
        self._bytes = KeyedTokenBuckets(limits.publish_bytes_per_second, limits.publish_bytes_burst, now)

    def call(self, caller: Caller, count: int = 1) -> None:
        """Let a caller make `count` calls. Raises RateLimited."""
        self._calls.take(caller, count, "calls")

    def publish(self, caller: Caller, size: int) -> None:
        """Let a caller publish `size` bytes. Raises RateLimited."""
        self._bytes.take(caller, size, "bytes")


_UNLIMITED: Final = TokenBucket(0.0, 0.0, lambda: 0.0)


def _allowance(rate: float, burst: float, now: Callable[[], float]) -> TokenBucket:
    return TokenBucket(rate, burst, now) if rate else _UNLIMITED
