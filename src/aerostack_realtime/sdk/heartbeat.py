"""When a connection is asked for a sign of life, and when it is given up. No I/O, no sleep."""

from collections.abc import Callable
from typing import Literal

Due = Literal["nothing", "ping", "give up"]


class Heartbeat:
    """One connection's signs of life.

    A ping is due when either side has been silent for `interval` seconds: the server also wants to hear
    from a client that only listens. The connection is given up when nothing at all was heard within
    `interval` of a ping. `clock` returns seconds and never goes back.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self.interval = interval
        self._clock = clock
        self._heard = self._sent = clock()
        self._asked: float | None = None

    def heard(self) -> None:
        """A frame arrived now."""
        self._heard = self._clock()
        self._asked = None

    def sent(self) -> None:
        """A frame was sent now."""
        self._sent = self._clock()

    def pinged(self) -> None:
        """A ping was sent now, in answer to `due`."""
        self._sent = self._asked = self._clock()

    @property
    def deadline(self) -> float:
        """The time of the clock at which something is due next, if nothing happens until then."""
        silent_since = min(self._heard, self._sent) if self._asked is None else self._asked
        return silent_since + self.interval

    def due(self) -> Due:
        """What is to be done now."""
        if self._clock() < self.deadline:
            return "nothing"
        return "ping" if self._asked is None else "give up"
