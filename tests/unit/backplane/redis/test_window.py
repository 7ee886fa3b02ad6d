"""How much the log holds, and where it may be trimmed."""

from aerostack_realtime.backplane.redis.window import ENTRY_BYTES, LogWindow

SECOND = 1_000_000
SIZE = 1000 - ENTRY_BYTES


def filled(limit: int, seconds: int) -> LogWindow:
    """One entry of 1000 bytes per second; positions are the time."""
    window = LogWindow(limit)
    for second in range(1, seconds + 1):
        window.read(second * SECOND, second * SECOND, SIZE)
    return window


def test_a_log_with_room_asks_for_nothing() -> None:
    window = filled(100_000, 60)
    assert (window.held, window.size_floor(), window.full) == (60_000, 0, False)


def test_a_log_near_its_limit_asks_to_be_trimmed_to_three_quarters() -> None:
    window = filled(100_000, 90)
    floor = window.size_floor()
    assert floor == 16 * SECOND
    assert window.trim(floor) == floor
    assert (window.held, window.size_floor()) == (75_000, 0)


def test_the_newest_thirty_seconds_are_never_asked_for() -> None:
    window = filled(10_000, 40)
    assert window.size_floor() == window.emergency_floor(40 * SECOND) == 10 * SECOND
    assert window.full


def test_a_log_that_filled_at_once_has_room_thirty_seconds_later() -> None:
    window = filled(10_000, 12)
    assert (window.full, window.size_floor()) == (True, 0)
    for second in range(13, 45):
        window.read(second * SECOND, second * SECOND, 0)  # a sign of life, which a full log takes
    assert window.full
    window.trim(window.size_floor())
    assert not window.full


def test_what_cannot_be_appended_to_becomes_older_by_the_clock() -> None:
    window = filled(100_000, 20)
    floors = [window.emergency_floor(20 * SECOND, stalled * SECOND) for stalled in (0, 10, 11, 20, 27, 28, 60)]
    assert floors == [0, 0, SECOND, 10 * SECOND, 17 * SECOND, 17 * SECOND, 17 * SECOND]
    window.trim(17 * SECOND)
    floors = [window.emergency_floor(20 * SECOND, stalled * SECOND) for stalled in (29, 30)]
    assert floors == [17 * SECOND, 20 * SECOND], "nothing else is left"


def test_a_log_that_filled_within_a_second_is_trimmed_to_its_newest_entry() -> None:
    window = LogWindow(100_000)
    for position in range(1, 11):
        window.read(position, SECOND, SIZE)
    assert [window.emergency_floor(10, stalled * SECOND) for stalled in (0, 29, 30)] == [0, 0, 10]


def test_an_entry_that_holds_the_floor_stays() -> None:
    window = filled(100_000, 10)
    assert window.trim(5 * SECOND + 3) == 5 * SECOND
    assert window.trim(1) == 0


def test_an_empty_window_has_no_floor() -> None:
    window = LogWindow(1000)
    floors = (window.size_floor(), window.emergency_floor(7, 40 * SECOND), window.trim(5))
    assert (window.held, *floors) == (0, 0, 0, 0)


def test_a_lost_log_is_counted_anew() -> None:
    window = filled(1000, 50)
    window.cleared()
    assert (window.held, window.full) == (0, False)
