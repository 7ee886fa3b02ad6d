"""Token buckets."""

from aerostack_realtime.gateway.allowance import Allowance


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    clock = Clock()
    allowance = Allowance(10, 5, clock)
    assert [allowance.take() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 0.25
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    clock.now += 1000
    assert [allowance.take() for _ in range(6)] == [True] * 5 + [False]


def test_what_is_larger_than_the_burst_has_to_be_waited_off() -> None:
    clock = Clock()
    allowance = Allowance(10, 5, clock)
    assert allowance.take(25)
    clock.now += 2.4
    assert not allowance.take(5)
    clock.now += 0.2
    assert allowance.take(5)


def test_without_a_rate_there_is_no_limit() -> None:
    allowance = Allowance(0, 0, Clock())
    assert all(allowance.take(1000) for _ in range(100))
