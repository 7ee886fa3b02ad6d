"""How load is offered: a closed window that saturates the server, or a schedule that is fixed in advance."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from struct import Struct as Layout
from time import monotonic

from bench.load import websocket
from bench.load.dialects import Dialect
from bench.load.stream import UNREACHABLE, Stream
from bench.load.subscriber import Subscriber

_STEPS = 4
"""A window is refilled by quarters: fewer, larger writes keep the generator light."""

_SHORTEST_S = 100e-6
"""Of two wake-ups of a schedule. A faster rate sends several messages at a wake-up."""


class Outlet:
    """Publishes the next messages of one channel on one connection."""

    def __init__(self, dialect: Dialect, stream: Stream, publisher: Subscriber) -> None:
        self._dialect = dialect
        self._publisher = publisher
        self.stream = stream

    def publish(self, count: int) -> None:
        """Write the next `count` messages."""
        stream, dialect = self.stream, self._dialect
        first = stream.published
        stream.published = first + count
        self._publisher.send(
            b"".join(
                websocket.encode(dialect.publish(stream.name, stream.payload(number)), dialect.opcode)
                for number in range(first, first + count)
            )
        )


class Window:
    """Keeps `size` messages of one channel in flight, as the average subscriber sees it."""

    def __init__(self, outlet: Outlet, size: int) -> None:
        self._outlet = outlet
        self._size = size
        self._step = max(1, size // _STEPS)

    def open(self) -> None:
        """Publish the first messages."""
        self._outlet.stream.refill = self._refill
        self._refill()

    def close(self) -> None:
        """Publish no more."""
        self._outlet.stream.refill_at = UNREACHABLE

    def _refill(self) -> None:
        stream = self._outlet.stream
        complete = stream.whole(stream.received // stream.subscribers)
        room = complete + self._size - stream.published
        if room > 0:
            self._outlet.publish(room)
        target = complete + self._step
        if target <= len(stream.ends):
            end = stream.ends[target - 1]
        else:  # not arrived anywhere yet: as long as those before
            unit = stream.ends[-1] // len(stream.ends) if stream.ends else len(stream.payload(0))
            end = len(stream.raw) + (target - len(stream.ends)) * unit
        stream.refill_at = max(end * stream.subscribers, stream.received + 1)


class _Timer:
    """A Linux timerfd (timerfd_create(2)): the loop's own timers tick in whole milliseconds."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)  # 1: CLOCK_MONOTONIC
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def start(self, first: float, interval: float) -> None:
        """Become readable at `first` (CLOCK_MONOTONIC, seconds) and every `interval` seconds from then on."""
        times = [value for time in (interval, first) for value in (int(time), int(time % 1 * 1e9))]
        setting = ctypes.create_string_buffer(Layout("qqqq").pack(*times))
        if self._libc.timerfd_settime(self.fd, 1, setting, None) < 0:  # 1: TFD_TIMER_ABSTIME
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")


class Timetable:
    """Calls `send(k)` for k = 0 … `count` - 1, each as soon as it is due, at `start + k / rate`."""

    def __init__(self, start: float, rate: float, count: int, send: Callable[[int], None]) -> None:
        self._start = start
        self._rate = rate
        self._count = count
        self._send = send
        self._sent = 0
        self._timer = _Timer()
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Return after the last."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._timer.fd, self._wake)
        self._timer.start(self._start, max(1 / self._rate, _SHORTEST_S))
        try:
            await self._done.wait()
        finally:
            loop.remove_reader(self._timer.fd)
            os.close(self._timer.fd)

    def _wake(self) -> None:
        try:
            os.read(self._timer.fd, 8)
        except BlockingIOError:
            return
        due = min(self._count, int((monotonic() - self._start) * self._rate + 1e-6) + 1)
        while self._sent < due:
            self._send(self._sent)
            self._sent += 1
        if self._sent == self._count:
            self._done.set()


def schedule(outlets: list[Outlet], start: float, rate: float, count: int) -> Timetable:
    """Publishes `count` messages, in turn to each channel; `due` says when each is due."""
    return Timetable(start, rate, count, lambda number: outlets[number % len(outlets)].publish(1))


def due(start: float, rate: float, channels: int, channel: int, number: int) -> float:
    """When message `number` of channel number `channel` is due in a `schedule`."""
    return start + (number * channels + channel) / rate
