"""A cancellation that comes in the same turn as a result is not lost."""

import asyncio
from contextlib import suppress

import pytest

from aerostack_realtime.database.postgres.connection.cancellation import cancellable


async def test_a_cancellation_that_is_swallowed_is_raised() -> None:
    """As `asyncio.wait_for` swallows it before Python 3.12."""
    began = asyncio.Event()

    async def swallows() -> str:
        began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        return "the result that came in the same turn"

    task = asyncio.create_task(cancellable(swallows()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_limit_holds_when_its_cancellation_is_swallowed() -> None:
    async def swallows() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await cancellable(swallows())


async def test_what_cleans_up_after_a_cancellation_gets_its_result() -> None:
    results: list[int] = []
    began = asyncio.Event()

    async def one() -> int:
        await asyncio.sleep(0)
        return 1

    async def cleans_up() -> None:
        try:
            began.set()
            await asyncio.get_running_loop().create_future()
        finally:
            results.append(await cancellable(one()))

    task = asyncio.create_task(cleans_up())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert results == [1]
