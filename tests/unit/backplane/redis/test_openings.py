"""How soon a node may begin a generation again."""

from aerostack_realtime.backplane.redis.openings import (
    DELETIONS,
    FIRST_SECONDS,
    FORGET_SECONDS,
    LONGEST_SECONDS,
    REMEMBERED,
    Openings,
)


def begun_again(openings: Openings, server: str, now: float, *, deleted: bool = False) -> float:
    """Wait as long as it takes, and begin; when that was."""
    now += openings.pause(server, 0, now, deleted=deleted)
    assert openings.pause(server, 0, now, deleted=deleted) == 0.0
    openings.begun(server, 0, now)
    return now


def test_a_new_process_is_never_waited_for() -> None:
    openings = Openings()
    for number in range(100):
        assert openings.pause(f"process {number}", 0, 0.0, deleted=False) == 0.0
        openings.begun(f"process {number}", 0, 0.0)


def test_a_process_that_sentinels_name_again_is_never_waited_for() -> None:
    openings = Openings()
    for epoch in range(100):
        server = ("a", "b")[epoch % 2]
        assert openings.pause(server, epoch, 0.0, deleted=False) == 0.0
        openings.begun(server, epoch, 0.0)


def test_contradicting_another_node_takes_twice_as_long_each_time() -> None:
    openings = Openings()
    openings.joined("a", 0)
    now, pauses = 1_000.0, []
    for _ in range(8):
        before, now = now, begun_again(openings, "a", now)
        pauses.append(now - before)
    assert pauses == [FIRST_SECONDS * 2**number for number in range(6)] + [LONGEST_SECONDS] * 2


def test_a_pause_ends_when_the_node_joins_another_process() -> None:
    openings = Openings()
    openings.joined("a", 0)
    assert openings.pause("a", 0, 0.0, deleted=False) == FIRST_SECONDS
    openings.joined("b", 1)
    assert openings.pause("b", 1, 0.5, deleted=False) == FIRST_SECONDS
    assert openings.pause("a", 2, 0.5, deleted=False) == 0.0


def test_a_few_deletions_are_not_waited_for() -> None:
    openings = Openings()
    openings.joined("a", 0)
    for _ in range(DELETIONS):
        assert begun_again(openings, "a", 1.0, deleted=True) == 1.0
    assert openings.pause("a", 0, 1.0, deleted=True) == FIRST_SECONDS


def test_an_opening_after_a_long_time_is_the_first_again() -> None:
    openings = Openings()
    openings.joined("a", 0)
    now = begun_again(openings, "a", begun_again(openings, "a", 1_000.0)) + FORGET_SECONDS
    assert openings.pause("a", 0, now, deleted=False) == FIRST_SECONDS


def test_a_process_that_alternates_with_few_others_is_remembered() -> None:
    openings = Openings()
    for number in range(REMEMBERED + 1):
        openings.joined(f"process {number}", 0)
    assert openings.pause("process 1", 0, 0.0, deleted=False) == FIRST_SECONDS
    assert openings.pause("process 0", 0, 0.0, deleted=False) == 0.0
