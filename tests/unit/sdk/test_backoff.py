import pytest

from aerostack_realtime.sdk.backoff import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_thirty_seconds() -> None:
    backoff = Backoff(random=lambda: 0.0)
    assert [backoff.wait() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_jitter_shortens_a_wait_by_up_to_half() -> None:
    backoff = Backoff(random=lambda: 0.999999)
    assert [round(backoff.wait(), 3) for _ in range(3)] == [0.5, 1.0, 2.0]


def test_a_connection_that_held_starts_the_series_anew() -> None:
    clock = Clock()
    backoff = Backoff(random=lambda: 0.0, clock=clock)
    assert [backoff.wait() for _ in range(3)] == [1, 2, 4]
    backoff.opened()
    clock.now += 30
    assert backoff.wait() == 1


def test_a_connection_dropped_at_once_does_not_reset_the_series() -> None:
    clock = Clock()
    backoff = Backoff(random=lambda: 0.0, clock=clock)
    assert [backoff.wait() for _ in range(3)] == [1, 2, 4]
    backoff.opened()
    clock.now += 1
    assert backoff.wait() == 8


def test_the_longest_wait_is_kept_for_the_attempts_after_it() -> None:
    backoff = Backoff(random=lambda: 0.0)
    assert backoff.longest() == 30
    assert backoff.wait() == 30


@pytest.mark.parametrize(("first", "longest"), [(0, 1), (2, 1), (-1, 1)])
def test_impossible_bounds_are_refused(first: float, longest: float) -> None:
    with pytest.raises(ValueError, match="0 < first <= longest"):
        Backoff(first, longest)
