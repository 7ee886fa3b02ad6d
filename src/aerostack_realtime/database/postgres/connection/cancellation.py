"""Cancellation that is not lost while psycopg waits.

psycopg waits by `asyncio.wait_for`. Before Python 3.12 that returns normally when a cancellation comes in the same
turn as what it waits for (bpo-37658), and the task continues as if nobody had cancelled it: a server that stops
would wait for it for ever.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def cancellable(awaitable: Awaitable[Result]) -> Result:
    """Await it. Raises CancelledError also when the task was cancelled and `awaitable` has swallowed that."""
    before = cancellations()
    result = await awaitable
    raise_if_cancelled(before)
    return result


def cancellations() -> int:
    """How often the current task was asked to end so far."""
    task = asyncio.current_task()
    assert task is not None, "coroutines run in tasks"
    return task.cancelling()


def raise_if_cancelled(before: int) -> None:
    """Raises CancelledError when the current task was asked to end since it had been asked `before` times."""
    if cancellations() > before:
        raise asyncio.CancelledError
