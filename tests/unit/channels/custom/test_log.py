"""The log of a channel: what a client that reconnects can still have."""

import pytest

from aerostack_realtime.channels.custom.budget import ENTRY_BYTES, Budget
from aerostack_realtime.channels.custom.log import Bounds, Log
from aerostack_realtime.channels.custom.logs import Logs

MAX_COUNT, MAX_BYTES = 10, 1_000
BOUNDS = Bounds(MAX_COUNT, MAX_BYTES, age=100)


def made(start: int) -> Log:
    return Log(start, BOUNDS, Budget(1 << 20))


def positions(log: Log, after: int) -> tuple[list[int], bool]:
    entries, complete = log.after(after)
    return [entry.position for entry in entries], complete


def test_everything_after_a_position_is_there_in_order() -> None:
    log = made(start=10)
    for position in (11, 15, 20):
        log.append(position, b"x")
    assert positions(log, 15) == ([20], True)
    assert positions(log, 10) == ([11, 15, 20], True)
    assert positions(log, 20) == ([], True)


def test_a_position_before_the_log_is_reported_as_missing() -> None:
    log = made(start=10)
    log.append(11, b"x")
    assert positions(log, 9) == ([11], False)


def test_it_is_bounded_by_count() -> None:
    log = made(start=0)
    for position in range(1, MAX_COUNT + 11):
        log.append(position, b"x")
    assert len(log) == MAX_COUNT
    assert positions(log, 9)[1] is False
    assert positions(log, 10) == (list(range(11, MAX_COUNT + 11)), True)


def test_it_is_bounded_by_bytes() -> None:
    log = made(start=0)
    log.append(1, b"x" * MAX_BYTES)
    log.append(2, b"x")
    assert positions(log, 1) == ([2], True)
    assert positions(log, 0) == ([2], False)


def test_it_is_bounded_by_age() -> None:
    log = made(start=0)
    for position in (1, 2, 3):
        log.append(position, b"x")
    log.expire(now=103)
    assert positions(log, 2) == ([3], True)
    assert positions(log, 1) == ([3], False)


def test_a_position_that_does_not_grow_is_a_fault() -> None:
    log = made(start=5)
    log.append(6, b"x")
    with pytest.raises(AssertionError, match="only grow"):
        log.append(6, b"x")


def test_an_event_from_before_the_start_is_not_kept() -> None:
    log = made(start=5)
    log.append(5, b"x")
    assert positions(log, 5) == ([], True)


def test_each_topic_has_the_bounds_of_the_first_pattern_that_matches() -> None:
    logs = Logs(
        [("chat/vip/*", Bounds(count=3)), ("chat/*", Bounds(count=2)), ("quiet", Bounds(count=0))], 1 << 20
    )
    kept = {}
    for topic in ("chat/vip/1/p", "chat/general/p", "game/1/p", "quiet/p"):
        log = logs.log(topic, start=0)
        for position in range(1, 6):
            log.append(position, b"x")
        kept[topic] = positions(log, 0)
    assert kept == {
        "chat/vip/1/p": ([3, 4, 5], False),
        "chat/general/p": ([4, 5], False),
        "game/1/p": ([1, 2, 3, 4, 5], True),
        "quiet/p": ([], False),
    }


def test_all_logs_share_a_bound_and_drop_the_oldest_events() -> None:
    logs = Logs([], limit=4 * (ENTRY_BYTES + 10))
    one, two, three = (logs.log(f"a/{n}/p", start=0) for n in range(3))
    for position, log in enumerate([one, two, one, three, two, two], 1):
        log.append(position, b"x" * 10)
    assert [positions(log, 0) for log in (one, two, three)] == [([3], False), ([5, 6], False), ([4], True)]
    assert positions(one, 1) == ([3], True)
    assert logs.spent == 4 * (ENTRY_BYTES + 10)


def test_an_event_above_the_bound_empties_the_log() -> None:
    logs = Logs([], limit=500)
    one, two = logs.log("a/1/p", start=0), logs.log("a/2/p", start=0)
    one.append(1, b"x")
    two.append(2, b"x" * 1_000)
    assert (positions(one, 0), positions(two, 0), logs.spent) == (([], False), ([], False), 0)
    one.append(3, b"x")
    assert positions(one, 1) == ([3], True)
