"""The log of a channel: what a client that comes back can still have."""

import pytest

from aerostack_realtime.channels.log import MAX_BYTES, MAX_COUNT, Log


def positions(log: Log, after: int) -> tuple[list[int], bool]:
    entries, complete = log.after(after)
    return [entry.position for entry in entries], complete


def test_everything_after_a_position_is_there_in_order() -> None:
    log = Log(start=10)
    for position in (11, 15, 20):
        log.append(position, b"x")
    assert positions(log, 15) == ([20], True)
    assert positions(log, 10) == ([11, 15, 20], True)
    assert positions(log, 20) == ([], True)


def test_a_position_from_before_the_log_is_told_that_something_is_missing() -> None:
    log = Log(start=10)
    log.append(11, b"x")
    assert positions(log, 9) == ([11], False)


def test_it_is_bounded_by_count() -> None:
    log = Log(start=0)
    for position in range(1, MAX_COUNT + 11):
        log.append(position, b"x")
    assert len(log) == MAX_COUNT
    assert positions(log, 9)[1] is False
    assert positions(log, 10) == (list(range(11, MAX_COUNT + 11)), True)


def test_it_is_bounded_by_bytes() -> None:
    log = Log(start=0)
    log.append(1, b"x" * MAX_BYTES)
    log.append(2, b"x")
    assert positions(log, 1) == ([2], True)
    assert positions(log, 0) == ([2], False)


def test_it_is_bounded_by_age() -> None:
    log = Log(start=0)
    for position in (1, 2, 3):
        log.append(position, b"x")
    log.expire(before=3)
    assert positions(log, 2) == ([3], True)
    assert positions(log, 1) == ([3], False)


def test_a_position_that_does_not_grow_is_a_fault() -> None:
    log = Log(start=5)
    with pytest.raises(AssertionError, match="only grow"):
        log.append(5, b"x")
