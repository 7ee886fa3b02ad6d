"""The hybrid clock: positions only grow, whatever the wall clock does."""

from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.backplane.memory import HEADROOM_US, RESERVE_US, HybridClock, mark_above

HOUR = 3_600_000_000


class Wall:
    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def test_positions_follow_the_wall_clock() -> None:
    wall = Wall(1_000)
    clock = HybridClock(wall, 0, wall.now + RESERVE_US, lambda mark: None)
    assert clock.next() == 1_000
    wall.now = 5_000
    assert clock.next() == 5_000


def test_two_positions_of_one_microsecond_differ() -> None:
    clock = HybridClock(lambda: 1_000, 0, RESERVE_US, lambda mark: None)
    assert [clock.next(), clock.next()] == [1_000, 1_001]


def test_a_wall_clock_set_back_an_hour_does_not_take_positions_with_it() -> None:
    wall = Wall(10 * HOUR)
    clock = HybridClock(wall, 0, wall.now + RESERVE_US, lambda mark: None)
    before = clock.next()
    wall.now -= HOUR
    assert clock.next() == before + 1


def test_a_restart_with_the_clock_set_back_continues_above_the_mark() -> None:
    mark = 10 * HOUR
    clock = HybridClock(lambda: 9 * HOUR, mark, mark + RESERVE_US, lambda mark: None)
    assert clock.next() == mark + 1


def test_a_clock_that_jumps_ahead_is_followed_once_marked() -> None:
    wall, asked = Wall(1_000), list[int]()
    clock = HybridClock(wall, 0, 1_000 + RESERVE_US, asked.append)
    clock.next()
    wall.now += HOUR
    assert clock.next() == 1_001
    clock.reserved(asked[-1])
    assert clock.next() == wall.now


def test_a_timestamp_tells_the_time_while_no_mark_can_be_stored() -> None:
    wall = Wall(HOUR)
    clock = HybridClock(wall, 0, HOUR + RESERVE_US, lambda mark: None)
    clock.next()
    wall.now = 2 * HOUR
    position = clock.next()
    assert position < HOUR + RESERVE_US
    assert clock.timestamp == 2 * HOUR // 1000


def test_a_timestamp_does_not_go_back_with_the_wall_clock() -> None:
    wall = Wall(2 * HOUR)
    clock = HybridClock(wall, 0, wall.now + RESERVE_US, lambda mark: None)
    clock.next()
    wall.now = HOUR
    clock.next()
    assert clock.timestamp == 2 * HOUR // 1000


def test_a_clock_at_the_mark_leaves_headroom_until_the_next_one() -> None:
    wall = Wall(HOUR)
    clock = HybridClock(wall, 0, HOUR + RESERVE_US, lambda mark: None)
    wall.now = HOUR + RESERVE_US - HEADROOM_US
    positions = [clock.next()]
    wall.now = HOUR + RESERVE_US
    positions += [clock.next() for _ in range(1_000)]
    assert positions == list(range(positions[0], positions[0] + 1_001))
    assert positions[-1] <= HOUR + RESERVE_US


def test_counting_asks_for_more_before_its_room_ends() -> None:
    asked = list[int]()
    mark = mark_above(HOUR, 10 * HOUR)
    clock = HybridClock(lambda: HOUR, 10 * HOUR, mark, asked.append)
    positions = [clock.next() for _ in range(HEADROOM_US // 2 + 2)]
    assert positions[-1] < mark < asked[0]
    assert len(asked) == 1


def test_frequent_restarts_do_not_run_ahead_of_the_clock() -> None:
    wall = Wall(HOUR)
    mark = 0
    for _ in range(100):
        wall.now += 2_000_000
        mark = mark_above(wall.now, mark)
    assert mark == wall.now + RESERVE_US


@given(st.lists(st.tuples(st.integers(-HOUR, HOUR), st.booleans()), max_size=200))
def test_positions_increase_and_never_exceed_the_stored_mark(
    steps: list[tuple[int, bool]],
) -> None:
    wall, asked = Wall(50 * HOUR), list[int]()
    stored = wall.now + RESERVE_US
    clock = HybridClock(wall, 0, stored, asked.append)
    last = 0
    for step, store in steps:
        wall.now += step
        position = clock.next()
        assert last < position <= stored
        last = position
        if store and asked:
            stored = max(stored, asked[-1])
            clock.reserved(asked[-1])
