"""The size of a turn of row changes, by what deliveries took."""

from aerostack_realtime.database.turns import LEAST, TURN_SECONDS, TurnSize

MOST = 256


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
