"""When to ping the server, and when a silent connection has timed out. No I/O, no sleep."""

from collections.abc import Callable
from typing import Literal

Due = Literal["nothing", "ping", "time out"]


class Heartbeat:
    """The traffic of one connection.

    A ping is due when either side has been silent for `interval` seconds: the server also wants to hear from a
    client that only listens. The connection times out when nothing arrives within `interval` after a ping.
    `clock` returns seconds and never goes back.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self.interval = interval
        self._clock = clock
        self._received = self._sent = clock()
        self._pinged: float | None = None

    def received(self) -> None:
        """A frame arrived now."""
        self._received = self._clock()
        self._pinged = None

    def sent(self) -> None:
        """A frame was sent now."""
        self._sent = self._clock()

    def pinged(self) -> None:
        """A ping was sent now, because `due` returned `ping`."""
        self._sent = self._pinged = self._clock()

    @property
    def deadline(self) -> float:
        """The time of the clock at which something is due next, if nothing happens until then."""
        silent_since = min(self._received, self._sent) if self._pinged is None else self._pinged
        return silent_since + self.interval

    def due(self) -> Due:
        """What is to be done now."""
        if self._clock() < self.deadline:
            return "nothing"
        return "ping" if self._pinged is None else "time out"
