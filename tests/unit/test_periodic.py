"""What a server does at intervals."""

import asyncio
import logging
from typing import cast

import pytest

from aerostack_realtime import periodic
from aerostack_realtime.counters import Histogram
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.protocol.errors import Unavailable


class Store:
    """A message store whose first `failures` calls fail. `pruned` is set by the first success."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.pruned = asyncio.Event()

    async def prune(self, now: int) -> None:
        assert now > 0
        if self.failures:
            self.failures -= 1
            raise Unavailable("The database is away.")
        self.pruned.set()


class Lag(Histogram):
    """A histogram whose `observed` is set by the first observation."""

    def __init__(self) -> None:
        super().__init__()
        self.observed = asyncio.Event()

    def observe(self, seconds: float, times: int = 1) -> None:
        super().observe(seconds, times)
        self.observed.set()


async def test_pruning_continues_after_failures_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(failures=3)
    with caplog.at_level(logging.DEBUG):
        task = asyncio.create_task(periodic.prune(cast(MessageStore, store), every=0))
        await store.pruned.wait()
        task.cancel()
    levels = [each.levelno for each in caplog.records if each.name == periodic.__name__]
    assert levels == [logging.WARNING, logging.DEBUG, logging.DEBUG]


async def test_the_lag_of_the_event_loop_is_observed() -> None:
    lag = Lag()
    task = asyncio.create_task(periodic.measure_lag(lag, every=0))
    await lag.observed.wait()
    task.cancel()
    assert lag.total
