"""What the feed's thread hands to the loop: in order, in portions."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from aerostack_realtime.database.base import Change
from aerostack_realtime.database.sqlite.paced_calls import Batch, PacedCalls
from aerostack_realtime.database.turns import LEAST, TURN_SECONDS

MOST = 8 * LEAST


def changes(first: int, count: int) -> list[Change]:
    return [Change("t", "INSERT", {}, None, 0, f"e.{id}") for id in range(first, first + count)]


class Stage:
    """Paced calls whose deliveries take as long as the test says, and everything that was called in its order."""

    def __init__(self, seconds: float) -> None:
        self.log: list[object] = []
        self._now = 0.0
        self._seconds = seconds
        self.calls = PacedCalls(asyncio.get_running_loop(), MOST, lambda: self._now)

    def batch(self, first: int, count: int, end: int) -> None:
        self.calls.post(Batch(changes(first, count), end, self._deliver, lambda: self.log.append("done")))

    def work(self, seconds: float) -> None:
        self._now += seconds

    def note(self, what: object) -> None:
        self.calls.post(lambda: self.log.append(what))

    def _deliver(self, part: Sequence[Change], position: int) -> None:
        self._now += self._seconds
        self.log.append((len(part), position))

    async def finish(self) -> None:
        ended = asyncio.Event()
        self.calls.post(ended.set)
        await ended.wait()


async def test_calls_and_batches_keep_their_order() -> None:
    stage = Stage(0.0)
    stage.note("a")
    stage.batch(1, 2, end=7)
    stage.note("b")
    stage.batch(8, 0, end=9)
    await stage.finish()
    assert stage.log == ["a", (2, 7), "done", "b", (0, 9), "done"]


async def test_a_part_of_a_batch_ends_at_its_last_change() -> None:
    stage = Stage(1.0)
    stage.batch(1, MOST, end=1_000)
    stage.note("after")
    await stage.finish()
    *delivered, done, after = stage.log
    parts = [part for part in delivered if isinstance(part, tuple)]
    assert (done, after) == ("done", "after")
    position = 0
    for index, (count, end) in enumerate(parts):
        position += count
        assert end == (1_000 if index == len(parts) - 1 else position)
    assert position == MOST
    assert parts[2:-1] == [(LEAST, end) for _, end in parts[2:-1]], "changes that take long come in small turns"


async def test_other_tasks_run_between_the_parts_of_a_batch() -> None:
    stage = Stage(1.0)
    stage.batch(1, MOST, end=MOST)
    loop = asyncio.get_running_loop()

    def other() -> None:
        stage.log.append("other")
        if "done" not in stage.log:
            loop.call_soon(other)

    loop.call_soon(other)
    await stage.finish()
    parts = [index for index, each in enumerate(stage.log) if isinstance(each, tuple)]
    assert len(parts) > 2
    assert all("other" in stage.log[before:behind] for before, behind in pairwise(parts))


async def test_the_time_of_a_call_is_taken_from_the_changes_behind_it() -> None:
    stage = Stage(0.0)
    stage.calls.post(lambda: stage.work(TURN_SECONDS))
    stage.batch(1, LEAST, end=LEAST)
    asyncio.get_running_loop().call_soon(stage.log.append, "other")
    await stage.finish()
    assert stage.log == ["other", (LEAST, LEAST), "done"]


async def test_a_call_that_raises_does_not_stop_those_behind_it() -> None:
    stage = Stage(0.0)
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))

    def fail() -> None:
        raise RuntimeError("wrong")

    stage.calls.post(fail)
    stage.note("after")
    await stage.finish()
    assert (stage.log, len(raised)) == (["after"], 1)


async def test_a_batch_whose_delivery_raises_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(0.0)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    def fail(_part: Sequence[Change], _position: int) -> None:
        raise RuntimeError("wrong")

    monkeypatch.setattr(stage, "_deliver", fail)
    stage.batch(1, 1, end=1)
    stage.batch(2, 1, end=2)
    stage.note("after")
    await stage.finish()
    assert stage.log == ["done", "done", "after"]
