"""A busy event loop pauses between iterations that write to several audiences, and no other does."""

from aerostack_realtime.coalescing import INTERVAL, SHARE, WINDOW, Coalescing


class Loop:
    """An event loop whose iterations each take `work` seconds of its core, and wait `idle` seconds for input."""

    def __init__(self) -> None:
        self.now = self.cpu = 100.0
        self.pauses: list[float] = []
        self.coalescing = Coalescing(lambda: self.now, lambda: self.cpu, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    def run(self, seconds: float, *, work: float, idle: float, audiences: int) -> list[float]:
        """The pauses of iterations during these `seconds`."""
        self.pauses = []
        until = self.now + seconds
        while self.now < until:
            self.now += work + idle
            self.cpu += work
            self.coalescing.flushed(audiences)
        return self.pauses


def test_a_quiet_loop_never_pauses() -> None:
    assert Loop().run(1, work=20e-6, idle=20e-6 / SHARE, audiences=5) == []


def test_a_busy_loop_writes_to_several_audiences_once_per_interval() -> None:
    loop = Loop()
    loop.run(2 * WINDOW, work=100e-6, idle=10e-6, audiences=2)
    found = loop.run(1, work=INTERVAL * 0.6, idle=0, audiences=2)
    assert len(found) * INTERVAL > 0.99
    assert all(abs(each - INTERVAL * 0.4) < 1e-6 for each in found)


def test_one_audience_at_a_time_is_written_to_at_once() -> None:
    assert Loop().run(1, work=50e-6, idle=1e-6, audiences=1) == []


def test_an_iteration_that_was_long_is_followed_by_the_next() -> None:
    assert Loop().run(1, work=INTERVAL, idle=1e-6, audiences=100) == []


def test_a_loop_that_becomes_quiet_pauses_no_more() -> None:
    loop = Loop()
    assert loop.run(1, work=100e-6, idle=1e-6, audiences=2)
    loop.run(2 * WINDOW, work=10e-6, idle=1e-3, audiences=2)
    assert loop.run(1, work=10e-6, idle=1e-3, audiences=2) == []
