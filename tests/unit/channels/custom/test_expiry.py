"""When logs are visited for what is too old in them."""

import gc
import weakref

from aerostack_realtime.channels.custom.expiry import Expiry


class Log:
    """A log of which every event is too old after 10 positions; `visits` counts how often it was asked."""

    def __init__(self, *positions: int) -> None:
        self.positions = list(positions)
        self.timed = False
        self.visits = 0

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def due(self) -> int:
        return self.positions[0] + 10

    def expire(self, now: int) -> None:
        self.visits += 1
        self.positions = [each for each in self.positions if each + 10 >= now]


def test_only_logs_with_something_too_old_are_visited() -> None:
    expiry, old, new = Expiry(), Log(1, 5), Log(50)
    expiry.filled(old)
    expiry.filled(new)
    expiry.expire(11)
    assert (old.visits, new.visits) == (0, 0), "the oldest is not too old yet"
    expiry.expire(12)
    assert (old.positions, old.visits, new.visits) == ([5], 1, 0)
    expiry.expire(16)
    assert (old.positions, old.visits, old.timed) == ([], 2, False)


def test_a_log_without_its_oldest_is_asked_again_when_the_next_is_due() -> None:
    expiry, log = Expiry(), Log(1)
    expiry.filled(log)
    log.positions = [8]
    expiry.expire(12)
    assert log.positions == [8]
    expiry.expire(19)
    assert log.positions == []


def test_a_log_that_is_filled_again_is_visited_again() -> None:
    expiry, log = Expiry(), Log(1)
    expiry.filled(log)
    expiry.expire(20)
    log.positions.append(30)
    expiry.filled(log)
    expiry.filled(log)
    expiry.expire(50)
    assert (log.positions, log.visits) == ([], 2)


def test_empty_logs_are_not_remembered_until_they_would_be_due() -> None:
    expiry, gone = Expiry(), []
    for position in range(10_000):
        log = Log(position)
        expiry.filled(log)
        log.positions.clear()
        gone.append(weakref.ref(log))
    del log
    gc.collect()
    assert sum(each() is not None for each in gone) < 2_000
