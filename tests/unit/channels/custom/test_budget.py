"""The budget of logs: which of many gives way, and that those that are gone are not remembered."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.channels.custom.budget import ENTRY_BYTES, Budget
from aerostack_realtime.channels.custom.log import Bounds, Log

EACH = ENTRY_BYTES + 10


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(1, 30))
def test_what_is_kept_is_the_newest_of_all(order: list[int], room: int) -> None:
    budget = Budget(room * EACH)
    logs = [Log(0, Bounds(), budget) for _ in range(10)]
    for position, number in enumerate(order, 1):
        logs[number].append(position, b"x" * 10)
    kept = sorted(entry.position for log in logs for entry in log.after(0)[0])
    assert kept == list(range(1, len(order) + 1))[-room:]


class Forgettable(Log):
    """A log that can be seen to go."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("by_age", [True, False])
def test_logs_of_channels_that_are_gone_are_let_go_of_while_there_is_room(by_age: bool) -> None:
    budget = Budget(1 << 30)
    gone = []
    for position in range(10_000):
        log = Forgettable(position, Bounds(bytes=100, age=0), budget)
        log.append(position + 1, b"x")
        if by_age:
            log.expire(position + 2)
        else:
            log.append(position + 2, b"x" * 101)
        gone.append(weakref.ref(log))
    gc.collect()
    assert budget.spent == 0
    assert sum(each() is not None for each in gone) < 2_000
