"""The size of a turn of row changes, by what deliveries took."""

import pytest

from aerostack_realtime.database.turns import LEAST, OTHERS, TURN_SECONDS, TurnSize

MOST = 256


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def grown(clock: Clock) -> TurnSize:
    """A size of MOST: changes cost nothing."""
    size = TurnSize(MOST, clock)
    while size.changes < MOST:
        size.begin()
        size.delivered(size.changes)
    return size


def after(changes_per_second: float, turns: int = 60) -> TurnSize:
    """The size after `turns` turns of a feed that never waits."""
    size = TurnSize(MOST)
    for _ in range(turns):
        size.took(size.changes, size.changes / changes_per_second)
    return size


def test_cheap_changes_are_delivered_in_the_largest_turns() -> None:
    assert after(1_000_000).changes == MOST


def test_expensive_changes_are_delivered_in_turns_of_the_wanted_time() -> None:
    wanted = 100 / TURN_SECONDS  # changes per second
    assert 75 <= after(wanted).changes <= 125


def test_a_turn_never_has_too_few_changes_to_be_worth_it() -> None:
    assert after(1).changes == LEAST


def test_one_expensive_turn_halves_the_next_at_most() -> None:
    size = after(1_000_000)
    size.took(MOST, 60.0)
    assert size.changes == MOST // 2


def test_a_turn_that_was_not_filled_leaves_the_size() -> None:
    size = TurnSize(MOST)
    before = size.changes
    size.took(1, 0.0)
    assert size.changes == before


def test_reading_is_part_of_a_turn() -> None:
    clock = Clock()
    size = grown(clock)
    size.begin()
    clock.now += 2 * TURN_SECONDS
    size.delivered(MOST)
    assert size.changes == MOST // 2


@pytest.mark.parametrize(("share", "left"), [(0.0, 1.0), (0.5, 0.5), (OTHERS, 1 - OTHERS), (9.0, 1 - OTHERS)])
def test_a_turn_leaves_the_time_that_other_tasks_have_taken(share: float, left: float) -> None:
    clock = Clock()
    size = grown(clock)
    size.pause()
    clock.now += share * TURN_SECONDS
    size.begin()
    assert size.changes == MOST * left


def test_a_turn_that_begins_with_input_has_all_of_its_time() -> None:
    clock = Clock()
    size = grown(clock)
    clock.now += TURN_SECONDS
    size.begin()
    assert size.changes == MOST


def test_a_short_turn_does_not_make_the_next_one_shorter() -> None:
    clock = Clock()
    size = grown(clock)
    size.pause()
    clock.now += TURN_SECONDS
    size.begin()
    assert size.changes < MOST
    size.delivered(size.changes)
    assert size.changes == MOST


def test_two_deliveries_of_one_turn_are_measured_apart() -> None:
    clock = Clock()
    size = grown(clock)
    size.begin()
    for _ in range(2):
        clock.now += TURN_SECONDS
        size.delivered(MOST)
    assert size.changes == MOST
