"""What every subscriber of one channel must receive, kept once.

A stream grows by whichever subscriber is ahead; each message is checked as it is added, so a subscriber whose
bytes equal the stream's has received every message, once, in order and undamaged.
"""

import sys
from bisect import bisect_right
from collections.abc import Callable

UNREACHABLE = sys.maxsize


class Payload:
    """The data of message number n: JSON of exactly `size` bytes (at least 24) that names n."""

    def __init__(self, size: int) -> None:
        self._tail = b'","p":"' + b"x" * (size - 24) + b'"}'

    def __call__(self, number: int) -> bytes:
        return b'{"s":"%09d' % number + self._tail


class Faults:
    """What went wrong on any connection: counted, the first few described."""

    def __init__(self) -> None:
        self.count = 0
        self.details: list[str] = []

    def add(self, detail: str) -> None:
        """Count one fault."""
        self.count += 1
        if len(self.details) < 5:
            self.details.append(detail)


class Stream:
    """The messages of one channel, as raw bytes, and how many bytes of it all its subscribers have together.

    `refill` is called when `received` has reached `refill_at` (window.py).
    """

    __slots__ = (
        "ends",
        "faults",
        "name",
        "payload",
        "published",
        "raw",
        "received",
        "refill",
        "refill_at",
        "subscribers",
    )

    def __init__(self, name: str, subscribers: int, payload: Payload, faults: Faults) -> None:
        self.name = name
        self.subscribers = subscribers
        self.payload = payload
        self.faults = faults
        self.raw = bytearray()
        self.ends: list[int] = []
        self.published = 0
        self.received = 0
        self.refill_at = UNREACHABLE
        self.refill: Callable[[], None] = lambda: None

    def append(self, unit: bytes) -> None:
        """Add the next message; it must hold the data published under that number."""
        number = len(self.ends)
        if self.payload(number) not in unit:
            self.faults.add(f"{self.name}: message {number} arrived as {unit[:200]!r}")
        self.raw += unit
        self.ends.append(len(self.raw))

    def whole(self, position: int) -> int:
        """How many messages lie before byte `position`."""
        return bisect_right(self.ends, position)

    def begin(self, position: int) -> int:
        """Where the message begins that byte `position` is in; `position` itself when it is between two."""
        count = self.whole(position)
        return self.ends[count - 1] if count else 0

    def end(self, position: int) -> int:
        """Where the message ends that byte `position` is in."""
        return self.ends[self.whole(position)]
